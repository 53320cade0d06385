"""A streamed answer as a response: what decides its status, and what is done at its end."""

from collections.abc import Iterator

import pytest
from application import Application, chunks_of, error_of, running, streaming
from upstream import Script, chunk, reply

from app.api.exchange import Service


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    with running(tmp_path_factory.mktemp("app")) as app:
        yield app


def watched(app: Application) -> int:
    service: Service = app.wsgi.extensions["cadenza"]
    return len(service.watcher._watches)


def test_what_begins_well_is_a_stream(app: Application) -> None:
    answer = app.ask(stream=True)

    assert answer.status == "200 OK"
    assert answer.content_type == "text/event-stream; charset=utf-8"
    assert "Content-Length" not in answer.headers
    assert len(chunks_of(answer)) == 3


def test_what_fails_at_once_is_an_answer_with_a_status(app: Application) -> None:
    answer = app.ask(lambda exchange: exchange.answer({"error": {"message": "x"}}, 429, retry_after="7"), stream=True)

    assert error_of(answer, "requests")[:2] == (429, "rate_limit_exceeded")
    assert answer.headers["retry-after"] == "7"
    assert answer.headers["x-request-id"].startswith("req_")


def test_what_fails_later_is_an_event_and_the_end(app: Application) -> None:
    answer = app.ask(streaming(chunk("Hel")), stream=True)

    *_, last, rest = answer.text.split("\n\n")
    assert answer.status_code == 200
    assert last.startswith('data: {"error":{"message":"')
    assert rest == ""
    assert '"finish_reason":"' not in answer.text


@pytest.mark.parametrize("script", [reply(), streaming(chunk("Hel"))])
def test_a_stream_is_watched_to_its_end(app: Application, script: Script) -> None:
    app.ask(script, stream=True)

    assert watched(app) == 0


def test_a_stream_that_is_left_is_ended(app: Application) -> None:
    answer = app.ask(reply("one two three"), {"buffered": False}, stream=True)
    assert next(answer.iter_encoded()).startswith(b"data: {")
    assert watched(app) == 1

    answer.close()

    assert watched(app) == 0
