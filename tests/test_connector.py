"""What all connectors have in common: options, retries, limits, and what becomes of a broken answer."""

import socket
import threading
import time
from typing import Any

import pytest
from plain import END, HI, KEY, Plain, plain
from script import begin, give, reset, send, shut, then
from upstream import Exchange, Script, serving

from app.connector import EMBEDDED_VARIABLE, MAX_ANSWER, Connector
from app.errors import (
    BadRequest,
    ClientGone,
    RateLimited,
    ServiceError,
    UpstreamFailed,
    UpstreamOverloaded,
    UpstreamRefused,
    UpstreamTimeout,
)
from app.messages import Delta, Prompt, Reply, Usage
from app.scope import Scope
from app.secret import Secret

OK = give({"text": "Hi", "finish": "stop", "tokens": 2})
OVERLOADED = {"type": "overloaded_error"}
BODY = b'{"text": "Hi", "finish": "stop"}'
BROKEN_ERROR = then(send(b"HTTP/1.1 503 X\r\nretry-after-ms: 1\r\nContent-Length: 9\r\n\r\n"), shut)
WHOLE = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n28\r\ndata: " + BODY + b"\n\n\r\n0\r\n\r\n"
AT_ONCE = {"retry_after_ms": "1"}


def ask(asked: Connector, scope: Scope | None = None, stream: bool = False, prompt: Prompt = HI) -> str:
    """The text of the reply."""
    return Reply(lambda _: asked.stream(prompt, scope or Scope(retries=9), stream)).read().text


def sent(prompt: Prompt, **options: Any) -> Any:
    """The body that a prompt becomes."""
    with serving(OK) as upstream:
        ask(plain(upstream.url, **options), prompt=prompt)
        return upstream.exchanges[0].body


def fail(script: Script, stream: bool = False, **options: Any) -> ServiceError:
    """The error that an answer becomes."""
    with serving(script) as upstream, pytest.raises(ServiceError) as caught:
        ask(plain(upstream.url, **{"retries": 0, **options}), stream=stream)
    return caught.value


def events(*answers: Any) -> Script:
    """A stream of these, which ends without a word."""

    def script(exchange: Exchange) -> None:
        exchange.begin()
        for answer in answers:
            exchange.event(answer)
        exchange.send(b"0\r\n\r\n")

    return script


@pytest.mark.parametrize(
    ("script", "attempts"),
    [
        *(pytest.param(give({}, status, **AT_ONCE), 3, id=str(status)) for status in (408, 409, 424, 429, 498)),
        *(pytest.param(give({}, status, **AT_ONCE), 3, id=str(status)) for status in (500, 502, 503, 504, 529)),
        *(pytest.param(give({}, status, **AT_ONCE), 1, id=str(status)) for status in (307, 400, 401, 402, 403, 404)),
        pytest.param(give({"error": {"code": "insufficient_quota"}}, 429, **AT_ONCE), 1, id="no quota"),
        pytest.param(reset, 1, id="broken after it was sent"),
        pytest.param(BROKEN_ERROR, 3, id="broken error"),
        pytest.param(give({"text": "no end"}, 200, **AT_ONCE), 1, id="broken answer"),
    ],
)
def test_only_what_cannot_have_been_answered_is_tried_again(script: Script, attempts: int) -> None:
    scope = Scope(retries=9)

    with serving(script) as upstream, pytest.raises(ServiceError):
        ask(plain(upstream.url, retries=2), scope)

    assert len(upstream.exchanges) == scope.calls[0].attempts == attempts


def test_a_host_that_cannot_be_reached_is_tried_again() -> None:
    scope = Scope(retries=9)

    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        with pytest.raises(UpstreamOverloaded):
            ask(plain(url), scope)

    assert scope.calls[0].attempts == 2


def test_the_answer_to_the_second_attempt_is_the_answer() -> None:
    def script(exchange: Exchange) -> None:
        (OK if len(upstream.exchanges) > 1 else give({}, 503, **AT_ONCE))(exchange)

    with serving(script) as upstream:
        assert ask(plain(upstream.url)) == "Hi"


def test_connectors_of_one_request_share_one_budget() -> None:
    scope = Scope(retries=3)
    with serving(give({}, 503, **AT_ONCE)) as upstream:
        for _ in range(3):
            with pytest.raises(UpstreamOverloaded):
                ask(plain(upstream.url, retries=2), scope)

    assert [call.attempts for call in scope.calls] == [1 + 2, 1 + 1, 1]


def test_a_retry_waits_as_long_as_the_provider_asks() -> None:
    started = time.monotonic()

    with serving(give({}, 429, retry_after_ms="300")) as upstream, pytest.raises(RateLimited):
        ask(plain(upstream.url))

    assert len(upstream.exchanges) == 2
    assert 0.3 <= time.monotonic() - started < 3


@pytest.mark.parametrize(
    ("seconds", "total"),
    [pytest.param("11", 60, id="longer than anyone waits"), pytest.param("5", 3, id="longer than the call may take")],
)
def test_a_long_pause_is_passed_on_and_not_waited_for(seconds: str, total: float) -> None:
    started = time.monotonic()

    with serving(give({}, 429, retry_after=seconds)) as upstream, pytest.raises(RateLimited) as caught:
        ask(plain(upstream.url, timeout={"total": total}))

    assert len(upstream.exchanges) == 1
    assert caught.value.headers() == {"retry-after": seconds}
    assert time.monotonic() - started < 2


def test_a_client_that_leaves_is_not_waited_for() -> None:
    scope = Scope(retries=9)
    threading.Timer(0.1, scope.cancel, [ClientGone()]).start()
    started = time.monotonic()

    with serving(give({}, 429, retry_after="9")) as upstream, pytest.raises(ClientGone):
        ask(plain(upstream.url), scope)

    assert time.monotonic() - started < 2


TOOL = {"type": "function", "function": {"name": "f"}}
RICH = Prompt(HI.messages, (TOOL,), {"stop": "x", "tool_choice": "auto", "parallel_tool_calls": True})


@pytest.mark.parametrize(
    ("options", "param"),
    [({"refuse": ["stop", "seed"]}, "stop"), ({"tools": False}, "tools"), ({"refuse": ["tools"]}, "tools")],
)
def test_what_the_model_cannot_do_is_refused_in_openais_words(options: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        ask(plain("http://127.0.0.1:9", **options), prompt=RICH)

    assert caught.value.body()["error"] == {
        "message": f"Unsupported parameter: '{param}' is not supported with this model.",
        "type": "invalid_request_error",
        "param": param,
        "code": "unsupported_parameter",
    }


@pytest.mark.parametrize(
    ("options", "tools", "params"),
    [
        pytest.param({}, [TOOL], dict(RICH.params), id="nothing"),
        pytest.param({"drop": ["seed"]}, [TOOL], dict(RICH.params), id="what is not there"),
        pytest.param(
            {"drop": ["stop"]}, [TOOL], {"tool_choice": "auto", "parallel_tool_calls": True}, id="a parameter"
        ),
        pytest.param({"drop": ["tools"]}, [], {"stop": "x"}, id="tools and what goes with them"),
        pytest.param({"drop": ["tools"], "tools": False}, [], {"stop": "x"}, id="rather than refused"),
    ],
)
def test_what_the_model_does_not_need_is_dropped(options: dict[str, Any], tools: Any, params: Any) -> None:
    body = sent(RICH, **options)

    assert (body["tools"], body["params"]) == (tools, params)


def test_what_is_refused_is_not_missed() -> None:
    assert sent(HI, refuse=["stop"], tools=False)["messages"] == list(HI.messages)


def test_the_key_goes_into_a_header() -> None:
    with serving(OK) as upstream:
        ask(plain(upstream.url, key=Secret(KEY)))
        ask(plain(upstream.url, headers={"x-team": "a"}))
        ask(plain(upstream.url, key=Secret(KEY), headers={"Authorization": "Basic ours"}))

    headers = [each.headers for each in upstream.exchanges]
    assert [each.get("authorization") for each in headers] == [f"Bearer {KEY}", None, "Basic ours"]
    assert headers[1]["x-team"] == "a"
    assert {each["content-type"] for each in headers} == {"application/json"}
    assert upstream.exchanges[0].path == "/v1/ask"


def test_a_header_can_be_a_secret_which_is_never_passed_on() -> None:
    headers = {"x-team": "team-with-a-name", "x-pass": Secret(KEY)}
    with serving(OK) as upstream:
        ask(plain(upstream.url, headers=headers))
        sent = upstream.exchanges[0].headers
        assert (sent["x-team"], sent["x-pass"]) == ("team-with-a-name", KEY)

    for echo, told in ((f"You sent {KEY}!", UpstreamRefused), ("Hello, team-with-a-name!", BadRequest)):
        error = {"message": echo, "type": "invalid_request_error"}
        assert type(fail(give({"error": error}, 400), key=Secret("another-secret"), headers=headers)) is told


@pytest.mark.parametrize("field", ["message", "param", "code"])
@pytest.mark.parametrize("echo", [KEY, KEY[:9], KEY[-8:]])
@pytest.mark.parametrize("status", [400, 200])
def test_a_key_is_never_passed_on(field: str, echo: str, status: int) -> None:
    error = {"message": "Wrong.", "type": "invalid_request_error", field: f"you sent {echo}!"}

    told = fail(give({"error": error}, status), key=Secret(KEY))

    assert told.body() == UpstreamRefused().body()


def test_what_is_wrong_with_the_request_is_passed_on() -> None:
    error = {"message": "Wrong.", "type": "invalid_request_error", "param": "stop", "code": "bad_stop"}

    assert fail(give({"error": error}, 400), key=Secret(KEY)).body() == {"error": error}


@pytest.mark.parametrize(
    ("script", "stream", "kind"),
    [
        pytest.param(events({"text": "Hel"}), True, UpstreamFailed, id="an end without a finish"),
        pytest.param(events(), True, UpstreamFailed, id="an empty stream"),
        pytest.param(give(b"", content_type="text/event-stream"), True, UpstreamFailed, id="an empty body"),
        pytest.param(then(begin, shut), True, UpstreamFailed, id="a broken stream"),
        pytest.param(events({"text": "Hel"}, ["no", "answer"]), True, UpstreamFailed, id="another shape"),
        pytest.param(events({"no": "text"}), True, UpstreamFailed, id="something missing"),
        pytest.param(events({"text": "Hel"}, {"error": OVERLOADED}), True, UpstreamOverloaded, id="an error"),
        pytest.param(give({"error": "rate_limit", "code": "rate_limit"}), False, RateLimited, id="a whole error"),
        pytest.param(give({"text": "Hel"}), False, UpstreamFailed, id="an answer without a finish"),
        pytest.param(give(b"x" * (MAX_ANSWER + 1)), False, UpstreamFailed, id="an endless answer"),
        pytest.param(give(b"<html>"), False, UpstreamFailed, id="no JSON"),
        pytest.param(give(b"x" * 70_000, 500), False, UpstreamFailed, id="an endless error"),
        pytest.param(give(b"x" * 70_000, 400), False, BadRequest, id="an endless refusal"),
    ],
)
def test_what_is_no_whole_answer_is_an_error(script: Script, stream: bool, kind: type[ServiceError]) -> None:
    assert type(fail(script, stream)) is kind


@pytest.mark.parametrize(
    ("script", "stream"),
    [
        pytest.param(events({"text": "Hi"}, END), True, id="a stream"),
        pytest.param(events({"text": "Hi"}, END), False, id="a stream that nobody asked for"),
        pytest.param(OK, False, id="a whole answer"),
        pytest.param(OK, True, id="a whole answer in place of a stream"),
        pytest.param(give(BODY, content_type="text/plain"), False, id="without its type"),
        pytest.param(give(b"data: " + BODY, content_type="text/plain"), True, id="a stream without its type"),
    ],
)
def test_an_answer_is_taken_as_it_comes(script: Script, stream: bool) -> None:
    with serving(script) as upstream:
        assert ask(plain(upstream.url), stream=stream) == "Hi"


@pytest.mark.parametrize(("option", "asked", "streams"), [("always", False, True), ("never", True, False)])
def test_whether_to_stream_can_be_configured(option: str, asked: bool, streams: bool) -> None:
    with serving(OK) as upstream:
        ask(plain(upstream.url, stream=option), stream=asked)

    assert upstream.exchanges[0].body["stream"] is streams


def test_a_reply_that_is_abandoned_closes_its_connection() -> None:
    scope = Scope()
    with serving(then(Exchange.begin, lambda exchange: exchange.event({"text": "Hi"}), Exchange.wait_gone)) as upstream:
        reply = Reply(lambda stream: plain(upstream.url).stream(HI, scope, stream))
        assert next(iter(reply)) == Delta("Hi")

        reply.close()

        assert upstream.exchanges[0].gone.wait(5)
    assert scope.calls[0].seconds is not None


def test_a_connection_is_used_again() -> None:
    with serving(send(WHOLE)) as upstream:
        asked = plain(upstream.url)
        assert [ask(asked, stream=True) for _ in range(3)] == ["Hi"] * 3

        assert len({id(each.connection) for each in upstream.exchanges}) == 1


def test_the_log_can_tell_what_was_asked_and_what_it_cost() -> None:
    scope = Scope()
    with serving(events({"text": "Hi", "tokens": 1}, {**END, "tokens": 3})) as upstream:
        ask(plain(upstream.url, provider="mine"), scope, stream=True)
    (call,) = scope.calls

    assert (call.connector, call.provider, call.model, call.attempts) == ("main", "mine", "m", 1)
    assert (call.usage, call.error) == (Usage(output_tokens=3), None)
    assert call.first_chunk is not None
    assert call.seconds is not None
    assert 0 < call.first_chunk <= call.seconds


def test_the_log_can_tell_how_a_call_ended() -> None:
    scope = Scope()
    with serving(then(Exchange.wait_gone)) as upstream, pytest.raises(UpstreamTimeout):
        ask(plain(upstream.url, timeout={"first_byte": 0.1}), scope)

    assert (scope.calls[0].error, scope.calls[0].first_chunk) == ("UpstreamTimeout", None)


def test_the_bundled_model_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(EMBEDDED_VARIABLE, raising=False)
    assert plain("embedded").url == "http://127.0.0.1:9"

    monkeypatch.setenv(EMBEDDED_VARIABLE, "http://127.0.0.1:8123")
    assert plain("embedded").url == "http://127.0.0.1:8123"


def test_a_format_says_what_is_particular_to_it() -> None:
    bare = Connector("main", Plain.Options().load({"url": "http://x", "model": "m"}))

    for call in (
        lambda: bare.render_prompt(HI, True),
        lambda: bare.parse_events(iter([])),
        lambda: bare.parse_answer({}),
    ):
        with pytest.raises(NotImplementedError):
            call()


class Narrow(Plain):
    """A format that has one parameter, and an address of its own for streams."""

    knows = frozenset({"seed"})

    def address(self, stream: bool) -> str:
        return "/ask?stream" if stream else "/ask"

    def sign(self, body: bytes, stream: bool) -> dict[str, str]:
        return {"X-Signed": str(len(body))}


def narrow(url: str, **options: Any) -> Narrow:
    return Narrow("main", Narrow.Options().load({"url": url, "model": "m", **options}))


def test_a_parameter_that_a_format_does_not_know_is_refused_unless_it_is_to_be_dropped() -> None:
    prompt = HI.with_params(seed=1, temperature=0.5)

    with serving(lambda exchange: exchange.answer(END)) as upstream:
        with pytest.raises(BadRequest) as caught:
            list(narrow(upstream.url).stream(prompt, Scope(), False))
        list(narrow(upstream.url, drop=["temperature"]).stream(prompt, Scope(), False))

    assert caught.value.param == "temperature"
    assert upstream.exchanges[0].body["params"] == {"seed": 1}


def test_a_parameter_that_asks_for_nothing_is_known_to_every_format() -> None:
    with serving(lambda exchange: exchange.answer(END)) as upstream:
        list(narrow(upstream.url).stream(HI.with_params(logprobs=False, presence_penalty=0), Scope(), False))

    assert upstream.exchanges[0].body["params"] == {}


def test_a_format_may_stream_elsewhere_and_sign_each_request() -> None:
    with serving(lambda exchange: exchange.answer(END)) as upstream:
        for stream in (True, False):
            list(narrow(upstream.url).stream(HI, Scope(), stream))

    assert [exchange.path for exchange in upstream.exchanges] == ["/v1/ask?stream", "/v1/ask"]
    assert all(each.headers["x-signed"] == each.headers["content-length"] for each in upstream.exchanges)


@pytest.mark.parametrize("stalled", [b"", b"{"])
def test_an_error_whose_body_does_not_come_is_told_by_its_status(
    stalled: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.connector.ERROR_SECONDS", 0.2)
    head = b"HTTP/1.1 429 X\r\nretry-after: 77\r\nContent-Length: 9\r\n\r\n"

    def stall(exchange: Exchange) -> None:
        exchange.send(head + stalled)
        exchange.wait_gone()

    with serving(stall) as upstream, pytest.raises(RateLimited) as caught:
        ask(plain(upstream.url))

    assert caught.value.retry_after == 77
