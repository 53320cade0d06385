"""Bedrock's answers, its signatures and what it can be told."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from bedrock_api import (
    USER,
    ask,
    call,
    connector,
    delta,
    end,
    event,
    frame,
    header,
    sent,
    streamed,
    whole,
)
from marshmallow import ValidationError
from upstream import Exchange, Script, serving

from app.errors import (
    BadRequest,
    RateLimited,
    ServiceError,
    UpstreamFailed,
    UpstreamOverloaded,
    UpstreamRefused,
    UpstreamTimeout,
)
from app.messages import Prompt, Reply, ToolCall, Usage
from app.scope import Scope
from app.secret import Secret
from connectors._bedrock_signature import Credentials, sign_request

SIGNED = {"access_key_id": "AKIDTEST", "region": "us-east-1", "key": Secret("SECRETTEST-0123456789")}
TOOLS = call(1, "t1", "weather", '{"a":', "1}") + call(2, "t2", "clock", "")
BLOCKS = (
    {"text": "So"},
    {"toolUse": {"toolUseId": "t1", "name": "weather", "input": {"a": 1}}},
    {"toolUse": {"toolUseId": "t2", "name": "clock", "input": {}}},
)


@pytest.mark.parametrize("stream", [True, False])
def test_stream_and_whole_answer_give_the_same_reply(stream: bool) -> None:
    script = streamed(delta(0, text="So"), TOOLS, end("tool_use")) if stream else whole("tool_use", *BLOCKS)

    reply = ask(script, stream)

    assert (reply.text, reply.finish) == ("So", "tool_calls")
    assert [(each.id, each.name, json.loads(each.arguments)) for each in reply.tool_calls] == [
        ("t1", "weather", {"a": 1}),
        ("t2", "clock", {}),
    ]
    assert reply.usage == Usage(10, 7, cached_tokens=3, cache_write_tokens=2)
    assert "memo" not in reply.message


def test_characters_may_be_cut_anywhere() -> None:
    assert ask(streamed(delta(0, text="Hé 你"), end(), size=1)).text == "Hé 你"


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("tool_use", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("guardrail_intervened", "content_filter"),
        ("content_filtered", "content_filter"),
        ("of_tomorrow", "stop"),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_reasons_to_finish_are_openai_s(stream: bool, reason: str, finish: str) -> None:
    reply = ask(streamed(end(reason)) if stream else whole(reason), stream)

    assert (reply.text, reply.finish) == ("", finish)


@pytest.mark.parametrize("reason", ["malformed_model_output", "malformed_tool_use"])
@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_that_makes_no_sense_is_an_error(stream: bool, reason: str) -> None:
    with pytest.raises(UpstreamFailed):
        ask(streamed(delta(0, text="Hel"), end(reason)) if stream else whole(reason), stream)


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_with_calls_ends_in_calls_unless_it_was_cut(stream: bool) -> None:
    for reason, finish in (("end_turn", "tool_calls"), ("max_tokens", "length")):
        reply = ask(streamed(TOOLS, end(reason)) if stream else whole(reason, *BLOCKS), stream)
        assert reply.finish == finish


def test_what_nobody_knows_is_passed_over() -> None:
    unknown = event("contentBlockStart", contentBlockIndex=0, start={"image": {}}) + event("tomorrow", x=1)

    reply = ask(streamed(unknown, delta(0, citation={}), delta(0, text=""), delta(0, text="Hi"), end()))

    assert reply.text == "Hi"
    assert ask(whole("end_turn", {"tomorrow": 1}, {"text": "Hi"}), stream=False).text == "Hi"


def test_text_with_citations_is_text() -> None:
    cited = {"citationsContent": {"content": [{"text": "It is "}, {"text": "so."}], "citations": []}}

    assert ask(whole("end_turn", cited), stream=False).text == "It is so."


THOUGHT = {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "sig"}}}
REDACTED = {"reasoningContent": {"redactedContent": "UkVE"}}
UNSIGNED = {"reasoningContent": {"reasoningText": {"text": "eh"}}}
THINKING = (
    delta(0, reasoningContent={"text": "h"}),
    delta(0, reasoningContent={"text": "m"}),
    delta(0, reasoningContent={"signature": "sig"}),
    delta(3, **REDACTED),
    delta(4, reasoningContent={"text": "eh"}),
)
MEMO = [{"model": "amazon.m"}, THOUGHT, REDACTED, {"text": 2}, {"toolUse": True}, {"toolUse": True}]


@pytest.mark.parametrize("stream", [True, False])
def test_signed_thoughts_are_kept_for_the_next_turn(stream: bool) -> None:
    frames = streamed(*THINKING, delta(5, text="So"), TOOLS, end("tool_use"))

    reply = ask(frames if stream else whole("tool_use", THOUGHT, REDACTED, UNSIGNED, *BLOCKS), stream)

    assert (reply.text, reply.reasoning) == ("So", "hmeh")
    assert reply.message["memo"] == {"bedrock": MEMO}
    blocks = sent(USER, reply.message)["messages"][1]["content"]
    assert [block for block in blocks if "toolUse" not in block] == [THOUGHT, REDACTED, {"text": "So"}]
    assert blocks[3:] == list(BLOCKS[1:])


def test_thoughts_of_another_model_are_not_sent() -> None:
    message = {"role": "assistant", "content": "So", "memo": {"bedrock": MEMO, "anthropic": [{"type": "thinking"}]}}

    assert sent(USER, message, model="other.m")["messages"][1]["content"] == [{"text": "So"}]


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_in_json_that_came_as_a_call_is_text(stream: bool) -> None:
    block = {"toolUse": {"toolUseId": "t1", "name": "answer_in_json", "input": {"a": 1}}}
    frames = call(0, "t1", "answer_in_json", '{"a":', "1}")

    reply = ask(streamed(frames, end("tool_use")) if stream else whole("tool_use", block), stream)

    assert (json.loads(reply.text), reply.tool_calls, reply.finish) == ({"a": 1}, [], "stop")


def exception(name: str, message: str = "No.", kind: str = "exception") -> bytes:
    headers = header(":message-type", kind) + header(f":{kind}-type" if kind == "exception" else ":error-code", name)
    return frame(json.dumps({"message": message}).encode(), headers)


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        pytest.param(exception("throttlingException"), RateLimited, id="throttled"),
        pytest.param(exception("modelStreamErrorException"), UpstreamOverloaded, id="model"),
        pytest.param(exception("serviceUnavailableException"), UpstreamOverloaded, id="unavailable"),
        pytest.param(exception("modelTimeoutException"), UpstreamTimeout, id="late"),
        pytest.param(exception("internalServerException"), UpstreamFailed, id="internal"),
        pytest.param(exception("validationException"), BadRequest, id="invalid"),
        pytest.param(exception("ofTomorrow"), UpstreamFailed, id="unknown"),
        pytest.param(exception("InternalFailure", kind="error"), UpstreamFailed, id="error"),
        pytest.param(frame(b"", header(":message-type", "error")), UpstreamFailed, id="nothing said"),
    ],
)
def test_an_exception_inside_a_stream_is_an_error(broken: bytes, error: type[ServiceError]) -> None:
    with pytest.raises(ServiceError) as caught:
        ask(streamed(delta(0, text="Hel"), broken))

    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("status", "error"),
    [(403, UpstreamRefused), (404, UpstreamRefused), (424, UpstreamOverloaded), (429, RateLimited), (400, BadRequest)],
)
def test_statuses_are_errors(status: int, error: type[ServiceError]) -> None:
    with pytest.raises(error):
        ask(lambda exchange: exchange.answer({"message": "No."}, status))


WHOLE = delta(0, text="Hello")


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(streamed(WHOLE), id="without an end"),
        pytest.param(streamed(WHOLE, end()[:-9]), id="cut inside the count"),
        pytest.param(streamed(WHOLE[:-1] + b"x", end()), id="wrong checksum"),
        pytest.param(streamed(b"\0" * 16, end()), id="wrong length"),
        pytest.param(streamed(b"\0\0\0\x20" + b"\0" * 28, end()), id="wrong checksum of the lengths"),
        pytest.param(streamed(frame(b"{}", b"\1a\7"), end()), id="header that is cut"),
        pytest.param(streamed(frame(b"{}", b"\1a\x63"), end()), id="header of a type that is none"),
        pytest.param(streamed(event("messageStop"), end()), id="end without a reason"),
        pytest.param(
            streamed(event("contentBlockDelta", contentBlockIndex=0, delta={"text": 1}), end()),
            id="text of another type",
        ),
    ],
)
def test_a_stream_that_is_not_whole_is_an_error(script: Script) -> None:
    with pytest.raises(UpstreamFailed):
        ask(script)


def test_headers_that_are_no_text_are_passed_over() -> None:
    others = b"\1a\0" + b"\1b\4\0\0\0\1" + b"\1c\6\0\2xy" + header(":message-type", "event")
    piece = json.dumps({"contentBlockIndex": 0, "delta": {"text": "Hi"}}).encode()

    assert ask(streamed(frame(piece, others + header(":event-type", "contentBlockDelta")), end())).text == "Hi"


def test_an_end_without_a_count_is_an_end() -> None:
    assert ask(streamed(WHOLE, event("messageStop", stopReason="end_turn"))).usage is None
    assert ask(streamed(WHOLE, event("metadata", trace={}), event("messageStop", stopReason="end_turn"))).usage is None


@pytest.mark.parametrize("body", [{}, {"message": "no"}, [], b"<html>", {"output": {"message": {"content": []}}}])
def test_what_is_no_answer_is_an_error(body: Any) -> None:
    with pytest.raises(UpstreamFailed):
        ask(lambda exchange: exchange.answer(body), stream=False)


def receive(stream: bool, **options: Any) -> Exchange:
    """The request that is sent."""
    with serving(streamed(WHOLE, end()) if stream else whole("end_turn", {"text": "Hi"})) as upstream:
        asked = connector(upstream.url.removesuffix("/v1"), **options)
        Reply(lambda _: asked.stream(Prompt((USER,)), Scope(), stream)).read()
        return upstream.exchanges[0]


@pytest.mark.parametrize(("stream", "path"), [(True, "converse-stream"), (False, "converse")])
def test_requests_are_signed_as_they_are_sent(stream: bool, path: str) -> None:
    token = Secret("TOKEN")

    exchange = receive(stream, model="arn:aws:x/y", session_token=token, **SIGNED)

    assert exchange.path == f"/model/arn%3Aaws%3Ax%2Fy/{path}"
    date = datetime.strptime(exchange.headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    credentials = Credentials("AKIDTEST", SIGNED["key"].reveal(), "us-east-1", "TOKEN")  # type: ignore[attr-defined]
    signed = sign_request(f"http://{exchange.headers['host']}{exchange.path}", exchange.raw, credentials, date)
    assert exchange.headers["authorization"] == signed["Authorization"]
    assert exchange.headers["x-amz-security-token"] == "TOKEN"


def test_credentials_that_last_need_no_token() -> None:
    assert "x-amz-security-token" not in receive(False, **SIGNED).headers


def test_a_key_of_bedrock_s_own_is_sent_as_it_is() -> None:
    assert receive(False, key=Secret("bedrock-api-key")).headers["authorization"] == "Bearer bedrock-api-key"


def test_a_signature_needs_a_region() -> None:
    with pytest.raises(ValidationError, match="access_key_id"):
        connector(access_key_id="AKIDTEST")
    assert connector(**{**SIGNED, "key": None}).sign(b"", False) == {}


def test_calls_are_tool_calls_by_their_block() -> None:
    assert ask(streamed(call(4, "a", "f", "{}"), end())).tool_calls == [ToolCall(0, "a", "f", "{}")]
