"""Amazon's signatures, against those that Amazon's own library makes."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from connectors._bedrock_signature import Credentials, sign_request

OURS = Path(__file__).parent / "fixtures/bedrock_signatures.json"
RECORDINGS = Path(os.environ.get("CADENZA_RECORDINGS", Path(__file__).parents[3] / "shared/providers/recordings"))
MORE = RECORDINGS.parent / "sigv4_vectors.json"


def check(vector: dict[str, Any]) -> None:
    now = datetime.strptime(vector["now"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    names = (vector[name] for name in ("access_key", "secret_key", "region", "session_token"))

    signed = sign_request(vector["url"], vector["body"].encode(), Credentials(*names), now)

    expected = {name: value for name, value in vector["headers"].items() if name != "content-type"}
    assert {name.lower(): value for name, value in signed.items()} == expected


@pytest.mark.parametrize("number", [0, 1])
def test_a_signature_is_the_one_that_amazon_expects(number: int) -> None:
    check(json.loads(OURS.read_text())["vectors"][number])


def test_all_recorded_signatures_are_the_same() -> None:
    if not MORE.exists():
        pytest.skip("the recorded provider traffic is not here")
    for vector in json.loads(MORE.read_text())["vectors"]:
        check(vector)


@pytest.mark.parametrize("default", ["https://H:443/model/m/converse", "https://h/model/m/converse"])
def test_the_port_that_goes_without_saying_is_not_signed(default: str) -> None:
    credentials, now = Credentials("A", "S", "r"), datetime(2026, 1, 2, tzinfo=UTC)

    signed = sign_request("https://h/model/m/converse", b"", credentials, now)

    assert sign_request(default, b"", credentials, now) == signed
    assert sign_request("https://h:80/model/m/converse", b"", credentials, now) != signed
