"""Anthropic's Messages API: what its answers become."""

import json
from typing import Any

import pytest
from messages_api import (
    HI,
    START,
    STOP,
    USER,
    ask,
    block,
    call,
    called,
    connector,
    end,
    streamed,
    text,
    thought,
    tool_use,
    turns,
    use,
    whole,
)
from upstream import Exchange

from app.errors import BadRequest, ServiceError, UpstreamFailed, UpstreamOverloaded, UpstreamRefused
from app.event import Event
from app.messages import ToolCall, Usage
from connectors._anthropic_tool import ANSWER


def test_text_is_streamed_and_counted() -> None:
    reply = ask(streamed({"type": "ping"}, *text(0, "Hé", "llo"), end(), {"type": "future"}))

    assert (reply.text, reply.finish, reply.tool_calls) == ("Héllo", "stop", [])
    assert reply.usage == Usage(input_tokens=5, output_tokens=7)


def test_a_whole_message_is_one_delta() -> None:
    reply = ask(whole(HI, {"type": "future"}, {"type": "text", "text": "!"}), stream=False)

    assert (reply.text, reply.finish) == ("Hi!", "stop")
    assert reply.usage == Usage(input_tokens=5, output_tokens=7)


def test_a_whole_message_to_a_request_for_a_stream_is_taken() -> None:
    assert ask(whole(HI)).text == "Hi"


def test_a_character_that_was_cut_in_two_is_whole() -> None:
    def answer(exchange: Exchange) -> None:
        exchange.begin()
        events = [START, *text(0, "é🥑"), end(), STOP]
        body = "".join(f"data: {json.dumps(each, ensure_ascii=False)}   \n\n" for each in events).encode()
        for start in range(0, len(body), 7):
            exchange.chunk(body[start : start + 7])
        exchange.send(b"0\r\n\r\n")

    assert ask(answer).text == "é🥑"


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("tool_use", "stop"),
        ("pause_turn", "stop"),
        ("future", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_empty_answers_end_for_their_reason(reason: str, finish: str, stream: bool) -> None:
    reply = ask(streamed(end(reason)) if stream else whole(reason=reason), stream)

    assert (reply.text, reply.finish, reply.refusal) == ("", finish, "")


@pytest.mark.parametrize("stream", [True, False])
def test_a_refusal_says_why(stream: bool) -> None:
    details = {"type": "refusal", "explanation": "Against the policy"}
    answer = streamed(end("refusal", stop_details=details)) if stream else whole(reason="refusal", stop_details=details)

    assert ask(answer, stream).refusal == "Against the policy"


def test_details_of_another_end_are_no_refusal() -> None:
    assert ask(streamed(end("end_turn", stop_details={"explanation": "Done"}))).refusal == ""


def test_what_has_arrived_together_is_told() -> None:
    arrived = [Event("", json.dumps(each).encode(), each["type"] != "content_block_stop") for each in text(0, "a", "b")]

    told = [(delta.text, delta.more) for delta in connector().parse_events(iter(arrived))]

    assert told == [("a", True), ("b", True), ("", False)]


def test_text_may_come_with_the_beginning_of_its_block() -> None:
    assert ask(streamed(*block(0, HI), *text(1, "!"), end())).text == "Hi!"


@pytest.mark.parametrize("stream", [True, False])
def test_parallel_calls_are_numbered_from_0(stream: bool) -> None:
    blocks = (*text(0, "So"), *use(1, "a", "f", '{"x"', ":1}"), *use(2, "b", "g"))
    content = ({"type": "text", "text": "So"}, tool_use("a", x=1), tool_use("b", "g"))
    answer = streamed(*blocks, end("tool_use")) if stream else whole(*content, reason="tool_use")

    reply = ask(answer, stream)

    assert reply.tool_calls == [ToolCall(0, "a", "f", '{"x":1}'), ToolCall(1, "b", "g", "{}")]
    assert (reply.text, reply.finish) == ("So", "tool_calls")


@pytest.mark.parametrize(("reason", "finish"), [("end_turn", "tool_calls"), ("max_tokens", "length")])
def test_an_answer_with_calls_ends_for_them_unless_it_was_cut(reason: str, finish: str) -> None:
    assert ask(streamed(*use(0, "a", "f", '{"x":'), end(reason))).finish == finish
    assert ask(whole(tool_use()), stream=False).finish == "tool_calls"


def test_calls_of_the_providers_own_tools_are_passed_over() -> None:
    begin = {"type": "server_tool_use", "id": "srv", "name": "web_search", "input": {}}
    events = block(0, begin, {"type": "input_json_delta", "partial_json": '{"q":1}'})

    reply = ask(streamed(*events, *block(1, {"type": "web_search_tool_result", "content": []}), *text(2, "Hi"), end()))

    assert (reply.text, reply.tool_calls, reply.finish) == ("Hi", [], "stop")


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_that_was_forced_by_a_tool_is_text(stream: bool) -> None:
    answer = whole(tool_use("a", ANSWER, x=1), reason="tool_use")
    if stream:
        answer = streamed(*use(0, "a", ANSWER, '{"x"', ":1}"), end("tool_use"))

    reply = ask(answer, stream)

    assert (reply.text, reply.tool_calls, reply.finish) == ('{"x":1}', [], "stop")


@pytest.mark.parametrize(
    "counts",
    [
        {"input_tokens": 1, "cache_read_input_tokens": 20, "cache_creation_input_tokens": 300},
        {"cache_read_input_tokens": 20, "cache_creation_input_tokens": 300},
    ],
)
def test_cached_tokens_are_input_and_thoughts_are_output(counts: dict[str, int]) -> None:
    usage = {**counts, "output_tokens": 9, "output_tokens_details": {"thinking_tokens": 4}}
    expected = Usage(counts.get("input_tokens", 0) + 320, 9, 20, 300, reasoning_tokens=4)

    assert ask(whole(HI, usage=usage), stream=False).usage == expected


def test_counts_of_a_stream_replace_those_before() -> None:
    first = {"type": "message_start", "message": {"usage": {"input_tokens": 43, "output_tokens": 1}}}
    last = {**end(), "usage": {"input_tokens": 61, "output_tokens": 2}}

    assert ask(lambda exchange: exchange.stream(first, first, *text(0, "Hi"), last, STOP)).usage == Usage(61, 2)


def test_answers_without_counts_have_none() -> None:
    bare = {**end(), "usage": None}

    assert ask(lambda exchange: exchange.stream({"type": "message_start", "message": {}}, bare, STOP)).usage is None
    assert ask(whole(HI, usage=None), stream=False).usage is None


THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "s1"}
REDACTED = {"type": "redacted_thinking", "data": "xyz"}
MIXED = [
    THOUGHT,
    {"type": "text", "text": "So"},
    tool_use("a", x=1),
    REDACTED,
    {"type": "text", "text": ", and"},
    THOUGHT,
    tool_use("b", "g"),
]
MIXED_EVENTS = [
    *thought(0, "hm", "s1"),
    *text(1, "S", "o"),
    *use(2, "a", "f", '{"x":1}'),
    *block(3, REDACTED),
    *text(4, ", and"),
    *thought(5, "hm", "s1"),
    *use(6, "b", "g"),
]


@pytest.mark.parametrize("stream", [True, False])
def test_thoughts_go_back_where_they_were(stream: bool) -> None:
    answer = streamed(*MIXED_EVENTS, end("tool_use")) if stream else whole(*MIXED, reason="tool_use")

    reply = ask(answer, stream)

    assert (reply.text, reply.reasoning) == ("So, and", "hmhm")
    assert turns(USER, reply.message)[1]["content"] == MIXED


def test_an_answer_without_thoughts_has_no_memo() -> None:
    assert "memo" not in ask(streamed(*text(0, "Hi"), *use(1, "a", "f"), end("tool_use"))).message


@pytest.mark.parametrize("stream", [True, False])
def test_thoughts_that_nobody_signed_are_not_sent_back(stream: bool) -> None:
    answer = streamed(*thought(0, "hm", ""), end()) if stream else whole({"type": "thinking", "thinking": "hm"})

    reply = ask(answer, stream)

    assert reply.reasoning == "hm"
    assert "memo" not in reply.message


def test_text_that_was_changed_goes_back_whole() -> None:
    memo = [THOUGHT, {"type": "text", "size": 90}, {"type": "tool_use"}, REDACTED]
    changed = {"role": "assistant", "content": [HI, {"type": "text", "text": "!"}], "memo": {"anthropic": memo}}

    assert turns(USER, changed)[1]["content"] == [THOUGHT, {"type": "text", "text": "Hi!"}, REDACTED]


def test_what_other_providers_want_back_is_not_sent() -> None:
    assert turns(USER, called(call(), memo={"gemini": ["x"]}))[1]["content"] == [tool_use(x=1)]


@pytest.mark.parametrize(
    ("kind", "error"),
    [("overloaded_error", UpstreamOverloaded), ("api_error", UpstreamFailed), ("invalid_request_error", BadRequest)],
)
@pytest.mark.parametrize("stream", [True, False])
def test_an_error_inside_a_200_is_an_error(kind: str, error: type[ServiceError], stream: bool) -> None:
    body = {"type": "error", "error": {"type": kind, "message": "no"}}

    with pytest.raises(error):
        ask(streamed(*text(0, "Hel"), body) if stream else lambda exchange: exchange.answer(body), stream)


@pytest.mark.parametrize(
    ("status", "kind", "error"),
    [
        (400, "invalid_request_error", BadRequest),
        (401, "authentication_error", UpstreamRefused),
        (404, "not_found_error", UpstreamRefused),
        (413, "request_too_large", BadRequest),
        (500, "api_error", UpstreamFailed),
        (529, "overloaded_error", UpstreamOverloaded),
    ],
)
def test_an_error_status_is_an_error(status: int, kind: str, error: type[ServiceError]) -> None:
    body = {"type": "error", "error": {"type": kind, "message": "no"}, "request_id": "req_1"}

    with pytest.raises(error):
        ask(lambda exchange: exchange.answer(body, status))


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([START, *text(0, "Hel")], id="no end"),
        pytest.param([START, *text(0, "Hel"), STOP], id="no reason"),
        pytest.param([START, *text(0, "Hel"), end(None), STOP], id="null reason"),
        pytest.param([START, *text(0, "Hel"), START, *text(0, "Hello"), end(), STOP], id="begun again"),
        pytest.param([START, *text(0, "Hi")[1:], *use(1, "a", "f")[1:], end(), STOP], id="no beginning"),
        pytest.param([START, *block(0, {"type": "text", "text": 1}), end(), STOP], id="text of another type"),
        pytest.param([START, *use(0, "a", None), end(), STOP], id="name of another type"),  # type: ignore[arg-type]
        pytest.param([START, *use(0, None, "f"), end(), STOP], id="id of another type"),  # type: ignore[arg-type]
        pytest.param([[]], id="no object"),
    ],
)
def test_a_stream_that_is_not_what_it_should_be_is_an_error(events: list[Any]) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.begin()
        for each in events:
            exchange.event(each)
        exchange.send(b"0\r\n\r\n")

    with pytest.raises(UpstreamFailed):
        ask(answer)


def test_an_end_that_was_said_is_enough() -> None:
    def answer(exchange: Exchange) -> None:
        exchange.begin()
        for each in [START, *text(0, "Hi"), end()]:
            exchange.event(each)
        exchange.send(b"0\r\n\r\n")

    assert ask(answer).finish == "stop"


@pytest.mark.parametrize("body", [{}, [], b"<html>", {"content": None}, {"content": [HI], "stop_reason": None}])
def test_what_is_no_message_is_an_error(body: Any) -> None:
    with pytest.raises(UpstreamFailed):
        ask(lambda exchange: exchange.answer(body), stream=False)
