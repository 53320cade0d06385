"""Messages: what each role may hold, and what messages must be to one another."""

from typing import Any

import pytest

from app.api.fault import Fault
from app.api.message import CONTENT_LIMIT, MESSAGES, check_content, check_turns, texts
from app.errors import BadRequest
from app.messages import Message

USER = {"role": "user", "content": "a"}

TEXT = {"type": "text", "text": "a"}
REFUSAL = {"type": "refusal", "refusal": "no"}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,", "detail": "low"}}
AUDIO = {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}
FILE = {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:"}}


def call(*ids: str) -> Message:
    """An assistant's message that calls a function under each id."""
    calls = [{"id": id_, "type": "function", "function": {"name": "f", "arguments": "{}"}} for id_ in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def result(call_id: str) -> Message:
    """The result of a call."""
    return {"role": "tool", "content": "", "tool_call_id": call_id}


@pytest.mark.parametrize(
    "message",
    [
        pytest.param({"role": "system", "content": "a", "name": "b"}, id="system"),
        pytest.param({"role": "system", "content": [TEXT]}, id="system in parts"),
        pytest.param({"role": "developer", "content": [TEXT]}, id="developer in parts"),
        pytest.param({"role": "user", "content": [TEXT, IMAGE, AUDIO, FILE]}, id="user in parts of all kinds"),
        pytest.param({"role": "user", "content": ""}, id="an empty string"),
        pytest.param({"role": "user", "content": []}, id="no parts"),
        pytest.param({"role": "assistant", "content": [TEXT, REFUSAL]}, id="assistant in parts"),
        pytest.param({"role": "assistant", "content": "a", "refusal": "no", "audio": {"id": "b"}}, id="assistant"),
        pytest.param(call("call_1", "call_2"), id="calls of functions"),
        pytest.param({"role": "tool", "content": [TEXT], "tool_call_id": "call_1"}, id="tool in parts"),
        pytest.param({"role": "function", "content": "a", "name": "f"}, id="function"),
        pytest.param(
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
            id="function call",
        ),
        pytest.param(
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "f", "input": "x"}}],
            },
            id="call of a custom tool",
        ),
        pytest.param(
            {"role": "user", "content": [{**TEXT, "prompt_cache_breakpoint": {"mode": "explicit"}}]}, id="cache mark"
        ),
    ],
)
def test_a_message_of_the_schema_passes_as_it_is(message: Message) -> None:
    assert MESSAGES.check([message]) == [message]


def test_what_the_schema_does_not_know_is_dropped_at_every_depth() -> None:
    sent = {
        "role": "assistant",
        "content": [{**TEXT, "cache_control": {"type": "ephemeral"}}],
        "name": None,
        "provider_specific_fields": {},
        "tool_calls": [
            {"id": "c", "index": 0, "type": "function", "function": {"name": "f", "arguments": "", "output": None}}
        ],
    }

    assert MESSAGES.check([sent]) == [
        {
            "role": "assistant",
            "content": [TEXT],
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}],
        }
    ]


def test_an_assistant_without_content_says_so() -> None:
    assert MESSAGES.check([{"role": "assistant", "refusal": "no"}]) == [
        {"role": "assistant", "content": None, "refusal": "no"}
    ]


@pytest.mark.parametrize(
    ("message", "code", "param"),
    [
        pytest.param("ping", "invalid_type", "[0]", id="no object"),
        pytest.param({"content": "a"}, "missing_required_parameter", "[0].role", id="no role"),
        pytest.param({"role": "bogus", "content": "a"}, "invalid_value", "[0].role", id="unknown role"),
        pytest.param({"role": "user", "content": 7}, "invalid_type", "[0].content", id="content of another type"),
        pytest.param(
            {"role": "user", "content": "x" * (CONTENT_LIMIT + 1)},
            "string_above_max_length",
            "[0].content",
            id="too long",
        ),
        pytest.param({"role": "developer"}, "missing_required_parameter", "[0].content", id="developer says nothing"),
        pytest.param({"role": "developer", "content": None}, "invalid_type", "[0].content", id="developer says null"),
        pytest.param({"role": "user", "content": ["a"]}, "invalid_type", "[0].content[0]", id="part is no object"),
        pytest.param({"role": "system", "content": [IMAGE]}, "invalid_value", "[0].content[0].type", id="system image"),
        pytest.param(
            {"role": "user", "content": [{"type": "image_url", "image_url": "http://"}]},
            "invalid_type",
            "[0].content[0].image_url",
            id="image that is no object",
        ),
        pytest.param(
            {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "", "format": "ogg"}}]},
            "invalid_value",
            "[0].content[0].input_audio.format",
            id="audio format",
        ),
        pytest.param(
            {"role": "assistant", "content": "a", "tool_calls": []}, "empty_array", "[0].tool_calls", id="no calls"
        ),
        pytest.param(
            {"role": "assistant", "tool_calls": [{"id": "c", "type": "function"}]},
            "missing_required_parameter",
            "[0].tool_calls[0].function",
            id="call of nothing",
        ),
        pytest.param(
            {"role": "assistant", "tool_calls": [{"id": "c", "type": "web"}]},
            "invalid_value",
            "[0].tool_calls[0].type",
            id="call of another kind",
        ),
        pytest.param(
            {"role": "tool", "content": ""}, "missing_required_parameter", "[0].tool_call_id", id="no call id"
        ),
        pytest.param({"role": "function", "content": ""}, "missing_required_parameter", "[0].name", id="no name"),
    ],
)
def test_a_message_beyond_the_schema_is_refused_at_its_path(message: Any, code: str, param: str) -> None:
    with pytest.raises(Fault) as caught:
        MESSAGES.check([message])

    error = caught.value.within("messages").refusal()
    assert (error.code, error.param) == (code, f"messages{param}")


@pytest.mark.parametrize(
    "messages",
    [
        pytest.param([USER, USER], id="no calls"),
        pytest.param([USER, call("1"), result("1"), USER], id="a call and its result"),
        pytest.param([call("1", "2"), result("2"), result("1")], id="results in any order"),
        pytest.param([call("1"), result("1"), call("1"), result("1")], id="an id used again"),
        pytest.param([call("1"), result("1"), result("1")], id="a result twice"),
    ],
)
def test_calls_with_their_results_pass(messages: list[Message]) -> None:
    check_turns(messages)


UNCALLED = "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'."

UNANSWERED = (
    "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. "
    "The following tool_call_ids did not have response messages: "
)

STRANGE = "Invalid parameter: 'tool_call_id' of '2' not found in 'tool_calls' of previous message."


@pytest.mark.parametrize(
    ("messages", "param", "message"),
    [
        pytest.param([USER, result("1")], "messages.[1].role", UNCALLED, id="result without a call"),
        pytest.param([call("1"), result("1"), USER, result("1")], "messages.[3].role", UNCALLED, id="result too late"),
        pytest.param([call("1"), result("2")], "messages.[1].tool_call_id", STRANGE, id="result of another call"),
        pytest.param([call("1", "2"), USER], "messages.[1].role", f"{UNANSWERED}1, 2", id="no results"),
        pytest.param([call("1", "2"), result("1"), USER], "messages.[2].role", f"{UNANSWERED}2", id="a result missing"),
        pytest.param([USER, call("1")], "messages.[1].role", f"{UNANSWERED}1", id="no results at the end"),
        pytest.param([call("1"), call("2"), result("2")], "messages.[1].role", f"{UNANSWERED}1", id="another call"),
    ],
)
def test_calls_without_their_results_are_refused(messages: list[Message], param: str, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        check_turns(messages)

    assert (caught.value.param, caught.value.code, caught.value.message) == (param, None, message)


@pytest.mark.parametrize("key", ["tool_calls", "function_call", "refusal", "audio"])
def test_only_in_an_assistants_message_something_stands_in_for_content(key: str) -> None:
    check_content([{"role": "assistant", "content": None, key: "x"}, {"role": "user", "content": ""}])

    with pytest.raises(BadRequest) as caught:
        check_content([USER, {"role": "user", key: "x"}])

    assert (caught.value.param, caught.value.code) == ("messages.[1].content", None)
    assert caught.value.message == "Invalid value for 'content': expected a string, got null."


def test_the_texts_of_messages_are_those_of_strings_and_of_text_parts() -> None:
    assert list(texts([USER, call("1"), {"role": "user", "content": [IMAGE, {"type": "text", "text": "b"}]}])) == [
        "a",
        "b",
    ]
