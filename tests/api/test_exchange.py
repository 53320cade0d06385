"""What the log says of a request; its headers are tested with the edge."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from application import CHAT, HI, WHOLE, Application, answering, running, streaming
from upstream import Script, chunk

from app.key import KeyRing


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    with running(tmp_path_factory.mktemp("app")) as app:
        yield app


@pytest.fixture
def line(caplog: pytest.LogCaptureFixture, app: Application) -> Any:
    """Asks, and gives what the log says of it."""

    def ask(*arguments: Any, **options: Any) -> dict[str, Any]:
        caplog.clear()
        app.ask(*arguments, **options)
        return requests(caplog)[0]

    return ask


def requests(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [dict(record.args) for record in caplog.records if record.msg == "request"]  # type: ignore[arg-type]


def failing(status: int) -> Script:
    return lambda exchange: exchange.answer({"error": {"message": "boom"}}, status)


def test_a_request_is_one_line(app: Application, caplog: pytest.LogCaptureFixture) -> None:
    answer = app.ask()

    (line,) = requests(caplog)
    assert line["request_id"] == answer.headers["x-request-id"]
    assert (line["http.request.method"], line["http.route"]) == ("POST", "/v1/chat/completions")
    assert (line["http.response.status_code"], line["http.response.body.size"]) == (200, len(answer.data))
    assert line["ms"] >= 0


def test_it_names_who_asked_what_of_whom(line: Any) -> None:
    told = line(model="urn:cadenza:connector=whole:flow=chat", stream=True)

    assert told["owner"] == "alice"
    assert told["gen_ai.request.model"] == WHOLE, "in canonical form"
    assert (told["gen_ai.workflow.name"], told["gen_ai.request.stream"]) == ("chat", True)
    assert told["gen_ai.operation.name"] == "chat"
    (call,) = told["calls"]
    assert (call["connector"], call["gen_ai.request.model"], call["attempts"]) == ("whole", "up", 1)


def test_it_counts_tokens(line: Any) -> None:
    details = {"prompt_tokens_details": {"cached_tokens": 3}, "completion_tokens_details": {"reasoning_tokens": 4}}
    usage = {"prompt_tokens": 5, "completion_tokens": 7, **details}

    told = line(streaming(chunk("Hi", "stop", usage)), stream=True, n=2)

    assert told["gen_ai.usage.input_tokens"] == 2 * 5
    assert told["gen_ai.usage.output_tokens"] == 2 * 7
    assert told["gen_ai.usage.cache_read.input_tokens"] == 2 * 3
    assert told["gen_ai.usage.reasoning.output_tokens"] == 2 * 4


def test_what_was_not_counted_is_not_told(line: Any) -> None:
    assert "gen_ai.usage.input_tokens" not in line(streaming(chunk("Hi", "stop")), stream=True)


@pytest.mark.parametrize("stream", [True, False])
def test_an_error_is_told_by_its_kind(line: Any, stream: bool) -> None:
    told = line(failing(429), stream=stream)

    assert told["http.response.status_code"] == 429
    assert (told["error.type"], told["error.code"]) == ("RateLimited", "rate_limit_exceeded")
    assert told["calls"][0]["error.type"] == "RateLimited"
    assert told["client_gone"] is False


def test_a_stream_that_breaks_is_not_told_as_a_success(line: Any) -> None:
    told = line(streaming(chunk("Hi")), stream=True)

    assert (told["http.response.status_code"], told["error.type"]) == (502, "UpstreamFailed")
    assert told["http.response.body.size"] > 0


def test_what_is_refused_has_no_calls(line: Any) -> None:
    told = line(model="x")

    assert (told["http.response.status_code"], told["error.code"]) == (404, "model_not_found")
    assert not told.keys() & {"calls", "gen_ai.request.model", "gen_ai.usage.input_tokens"}


def test_a_user_is_told_apart_but_not_told(line: Any) -> None:
    alice, again, bob, other = (
        line(**who)["user"] for who in ({"user": "a"}, {"safety_identifier": "a"}, {"user": "b"}, {"user": "ab"})
    )

    assert alice == again
    assert len({alice, bob, other}) == 3
    assert len(alice) == 16
    assert "user" not in line()


def test_users_of_two_owners_are_two_users(app: Application, caplog: pytest.LogCaptureFixture) -> None:
    key = KeyRing(app.folders.secrets / "keys").add("al")
    body = {"model": CHAT, "messages": HI}

    app.ask(user="x")
    app.post(json.dumps({**body, "user": "icex"}).encode(), headers={"Authorization": f"Bearer {key}"})

    alice, al = requests(caplog)
    assert (alice["owner"], al["owner"]) == ("alice", "al")
    assert alice["user"] != al["user"], "though what is hashed would be the same if it were put together carelessly"


def test_what_the_client_invents_is_not_told(app: Application, caplog: pytest.LogCaptureFixture) -> None:
    app.fetch("/canary?canary", "CANARY", headers={"canary": "canary", "Origin": "https://canary"})

    (line,) = requests(caplog)
    assert (line["http.request.method"], line["http.route"]) == ("_OTHER", "")
    assert "canary" not in str(line).lower()


def test_strangers_have_no_owner(app: Application, caplog: pytest.LogCaptureFixture) -> None:
    app.fetch("/v1/models", headers={"Authorization": "Bearer sk-wrong"})

    (line,) = requests(caplog)
    assert line["error.code"] == "invalid_api_key"
    assert "owner" not in line
    assert line["http.route"] == "/v1/models"


def test_what_was_said_is_not_told(line: Any) -> None:
    told = line(answering(text="canary-answer"), messages=[{"role": "user", "content": "canary-prompt"}], user="canary")

    assert "canary" not in str(told)
