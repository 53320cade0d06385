"""Where a service keeps what it is made of."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Folders:
    """The four folders of a service, so that one checkout can run any number of them."""

    config: Path
    templates: Path
    secrets: Path
    state: Path

    @classmethod
    def of(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Named by `CADENZA_CONFIG`, `CADENZA_TEMPLATES`, `CADENZA_SECRETS` and `CADENZA_STATE`."""
        return cls(
            config=Path(environ.get("CADENZA_CONFIG") or ROOT / "config"),
            templates=Path(environ.get("CADENZA_TEMPLATES") or ROOT / "templates"),
            secrets=Path(environ.get("CADENZA_SECRETS") or ROOT / "var" / "secrets"),
            state=Path(environ.get("CADENZA_STATE") or ROOT / "var" / "state"),
        )
