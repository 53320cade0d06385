"""Pages in browsers: those of the configured origins may ask, and read what they are answered (CORS)."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from application import CHAT, HI, Application, running
from werkzeug.test import TestResponse

URL = "/v1/chat/completions"
BODY = json.dumps({"model": CHAT, "messages": HI}).encode()
PAGE = "https://chat.example"
ASKED = "authorization,content-type,x-stainless-os,x-stainless-retry-count"


def preflight(app: Application, origin: str, path: str = URL, **headers: str) -> TestResponse:
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST", **headers}
    return app.client.options(path, headers=asked)


def shared(answer: TestResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in answer.headers if name.lower().startswith("access-control-")}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    with running(tmp_path_factory.mktemp("app"), service=f"cors: ['{PAGE}']") as app:
        yield app


def test_a_page_of_a_named_origin_may_ask(app: Application) -> None:
    answer = preflight(app, PAGE, **{"Access-Control-Request-Headers": ASKED})

    assert (answer.status_code, answer.data) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert answer.headers["Access-Control-Allow-Headers"] == ASKED
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    assert answer.headers["Vary"] == "Origin"


def test_a_page_that_names_no_headers_may_send_the_usual_ones(app: Application) -> None:
    answer = preflight(app, PAGE, "/v1/x")

    assert answer.headers["Access-Control-Allow-Headers"] == "authorization, content-type"


def test_a_page_may_read_every_answer_errors_included(app: Application) -> None:
    headers: dict[str, Any] = {"headers": {"Origin": PAGE}}
    answers = [
        app.post(BODY, **headers),
        app.post(BODY.replace(b"{", b'{"stream": true,', 1), **headers),
        app.post(b"{", **headers),
        app.fetch("/v1/x", **headers),
        app.client.get("/v1/models", **headers),
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 400, 404, 401]
    for answer in answers:
        assert answer.headers.getlist("Access-Control-Allow-Origin") == [PAGE]
        assert "retry-after-ms" in answer.headers["Access-Control-Expose-Headers"]
        assert answer.headers["Vary"] == "Origin"


@pytest.mark.parametrize("origin", ["https://evil.example", "https://chat.example.evil", "null", ""])
def test_other_pages_may_not(app: Application, origin: str) -> None:
    asked = app.post(BODY, headers={"Origin": origin})

    assert shared(preflight(app, origin)) == shared(asked) == {}
    assert asked.headers["Vary"] == "Origin", "a cache must not give this answer to the page that may"


def test_no_page_may_ask_unless_it_is_configured(tmp_path: Path) -> None:
    with running(tmp_path) as app:
        answers = [preflight(app, PAGE), app.post(BODY, headers={"Origin": PAGE})]

    assert [answer.status_code for answer in answers] == [204, 200]
    for answer in answers:
        assert shared(answer) == {}
        assert "Vary" not in answer.headers


def test_all_pages_may_ask_if_it_is_configured(tmp_path: Path) -> None:
    with running(tmp_path, service="cors: ['*']") as app:
        answers = [preflight(app, PAGE), app.post(BODY, headers={"Origin": PAGE})]

    for answer in answers:
        assert answer.headers["Access-Control-Allow-Origin"] == PAGE
