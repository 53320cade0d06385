"""A running service, the official SDK in front of it and a provider behind it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from conftest import Site
from upstream import Script, Upstream, reply, serving

MODEL = "urn:cadenza:flow=chat"
HI: Any = [{"role": "user", "content": "Hi"}]
LIMIT = 65_536
"""Bytes of the largest request."""


class Stage:
    """A running service, the SDK, and the provider, whose script a test sets.

    The service has two connectors for the same provider, `main` and `other`.
    """

    def __init__(self, site: Site, upstream: Upstream) -> None:
        self.site = site
        self.upstream = upstream
        self.client = site.client(max_retries=0)
        self.chat = self.client.chat.completions

    def play(self, script: Script) -> None:
        self.upstream.script = script
        self.upstream.exchanges.clear()

    @property
    def sent(self) -> Any:
        """What the provider was sent last."""
        return self.upstream.exchanges[-1].body


@contextmanager
def staged(site: Site) -> Iterator[Stage]:
    """Starts `site` with a provider, for as long as the block runs."""
    with serving(reply()) as upstream:
        main = {"type": "openai", "url": upstream.url, "model": "up"}
        site.write("config/connectors.yaml", json.dumps({"main": main, "other": main}))
        site.write("config/service.yaml", f"{{max_body: {LIMIT}, retries: 0}}")
        yield Stage(site.start("--workers", "1", "--threads", "8"), upstream)
