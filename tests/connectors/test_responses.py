"""OpenAI's Responses format, as answers come in it."""

from typing import Any

import pytest
from responses_api import CALL, ask, end, event, message, response, streamed, text, told

from app.errors import BadRequest, QuotaExceeded, RateLimited, ServiceError, UpstreamFailed
from app.messages import ToolCall, Usage

COUNTED = Usage(input_tokens=5, output_tokens=7, cached_tokens=2, cache_write_tokens=1, reasoning_tokens=3)
TOKEN = {"token": "Hi", "logprob": -0.5, "bytes": [72, 105], "top_logprobs": [{"token": "Ho", "logprob": -1.5}]}
THOUGHT = {"type": "reasoning", "id": "rs_1", "encrypted_content": "SECRET"}


def test_a_stream_is_added_up_with_its_usage() -> None:
    reply = streamed(event("created"), text("Gr"), text("üße 👋"), event("new_kind", item={}), end())

    assert (reply.text, reply.finish, reply.usage) == ("Grüße 👋", "stop", COUNTED)


def test_what_comes_after_the_end_is_not_read() -> None:
    assert streamed(text("Hi"), end(), text("more")).text == "Hi"


@pytest.mark.parametrize("item", [message(""), {"type": "web_search_call", "id": "ws"}])
def test_an_answer_may_be_empty(item: Any) -> None:
    reply = told(item, usage=None)

    assert (reply.text, reply.finish, reply.usage) == ("", "stop", None)


def test_counts_that_are_not_there_are_none() -> None:
    assert told(message(), usage={"input_tokens": 5}).usage == Usage(input_tokens=5)


def test_refusals_and_reasoning_are_no_text() -> None:
    thought = {**THOUGHT, "summary": [{"type": "summary_text", "text": "hm"}]}
    parts = [{"type": "refusal", "refusal": "No"}]

    reply = told(thought, message(content=parts))

    assert (reply.text, reply.refusal, reply.reasoning) == ("", "No", "hm")


def test_refusals_and_reasoning_are_no_text_in_streams() -> None:
    reply = streamed(
        event("reasoning_summary_text.delta", delta="h"),
        event("reasoning_text.delta", delta="m"),
        event("refusal.delta", 1, delta="No"),
        end(),
    )

    assert (reply.text, reply.refusal, reply.reasoning) == ("", "No", "hm")


def test_parallel_calls_are_told_apart_whatever_comes_between_them() -> None:
    reply = streamed(
        event("output_item.added", 1, item={**CALL, "arguments": ""}),
        event("output_item.added", 2, item={**CALL, "call_id": "b", "arguments": ""}),
        event("function_call_arguments.delta", 1, delta='{"x"'),
        event("function_call_arguments.delta", 2, delta="{}"),
        event("function_call_arguments.delta", 1, delta=":1}"),
        event("output_item.done", 1, item=CALL),
        event("output_item.done", 2, item={**CALL, "call_id": "b", "arguments": "{}"}),
        end(),
    )

    assert reply.tool_calls == [ToolCall(0, "a", "f", '{"x":1}'), ToolCall(1, "b", "f", "{}")]
    assert reply.finish == "tool_calls"


@pytest.mark.parametrize("added", [True, False])
def test_a_call_may_come_whole(added: bool) -> None:
    begin = [event("output_item.added", item={**CALL, "arguments": ""})] if added else []

    reply = streamed(*begin, event("output_item.done", item=CALL), end())

    assert reply.tool_calls == [ToolCall(0, "a", "f", '{"x":1}')]


@pytest.mark.parametrize(
    ("reason", "finish"), [("max_output_tokens", "length"), ("content_filter", "content_filter"), (None, "length")]
)
def test_an_incomplete_answer_says_why(reason: str | None, finish: str) -> None:
    details = reason and {"reason": reason}

    assert told(CALL, status="incomplete", incomplete_details=details).finish == finish
    assert streamed(text("Hi"), end("incomplete", incomplete_details=details)).finish == finish


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_an_answer_that_is_not_done_is_an_error(status: str) -> None:
    with pytest.raises(UpstreamFailed):
        told(status=status)


def test_a_stream_without_its_end_is_an_error() -> None:
    with pytest.raises(UpstreamFailed):
        streamed(text("Hi"), event("output_text.done", text="Hi"))


FAILURES = [
    pytest.param({"code": "rate_limit_exceeded", "message": "slow down"}, RateLimited, id="rate limit"),
    pytest.param({"code": "insufficient_quota", "message": "pay"}, QuotaExceeded, id="quota"),
    pytest.param({"code": "server_error", "message": "broken"}, UpstreamFailed, id="broken"),
    pytest.param({"code": "invalid_image", "message": "no image"}, BadRequest, id="our image"),
    pytest.param(None, UpstreamFailed, id="unsaid"),
    pytest.param("broken", UpstreamFailed, id="a text"),
]


@pytest.mark.parametrize(("error", "kind"), FAILURES)
def test_a_failed_answer_is_an_error(error: Any, kind: type[ServiceError]) -> None:
    with pytest.raises(kind):
        told(status="failed", error=error)
    with pytest.raises(kind):
        streamed(text("Hi"), end("failed", error=error))


@pytest.mark.parametrize("nested", [True, False])
def test_an_error_in_a_stream_is_an_error(nested: bool) -> None:
    error = {"code": "rate_limit_exceeded", "message": "slow down"}

    with pytest.raises(RateLimited):
        streamed(text("Hi"), {"type": "error", "error": error} if nested else {**error, "type": "error"})


def test_a_cancelled_answer_is_an_error() -> None:
    with pytest.raises(UpstreamFailed):
        told(message(), status="cancelled")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"<html>", id="no JSON"),
        pytest.param(b"", id="nothing"),
        pytest.param([], id="a list"),
        pytest.param({}, id="nothing in it"),
        pytest.param(response(message(content=[{"type": "output_text", "text": [1]}])), id="text of another type"),
    ],
)
def test_what_is_no_answer_is_an_error(body: Any) -> None:
    with pytest.raises(UpstreamFailed):
        ask(lambda exchange: exchange.answer(body), stream=False)


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param({}, id="no type"),
        pytest.param(text([1]), id="text of another type"),
        pytest.param(event("function_call_arguments.delta", delta="{}"), id="a call that did not begin"),
    ],
)
def test_what_is_no_event_is_an_error(broken: Any) -> None:
    with pytest.raises(UpstreamFailed):
        streamed(broken, end())


def test_log_probabilities_are_the_same_both_ways() -> None:
    parts = [{"type": "output_text", "text": "Hi", "logprobs": [TOKEN]}]

    whole, pieced = told(message(content=parts)), streamed(text("Hi", logprobs=[TOKEN]), end())

    top = [{"token": "Ho", "logprob": -1.5, "bytes": None}]
    assert whole.logprobs == pieced.logprobs == {"content": [{**TOKEN, "top_logprobs": top}], "refusal": None}
