"""What prompts become in OpenAI's Responses format."""

from typing import Any

import pytest
from responses_api import CALL, USER, ask, connector, end, event, items_of, message, response, sent, streamed, told
from upstream import Exchange

from app.errors import BadRequest
from app.messages import Message, Prompt
from app.scope import Scope

THOUGHT = {"type": "reasoning", "id": "rs_1", "status": None, "summary": [], "encrypted_content": "SECRET"}
SENT_BACK = {"type": "reasoning", "summary": [], "encrypted_content": "SECRET"}


def test_a_prompt_is_sent_and_nothing_is_to_be_stored() -> None:
    seen = []

    def answer(exchange: Exchange) -> None:
        seen.append((exchange.path, exchange.body))
        exchange.answer(response(message()))

    ask(answer)

    body = {"model": "up", "input": [USER], "store": False, "include": ["reasoning.encrypted_content"], "stream": True}
    assert seen == [("/v1/responses", body)]


def test_what_an_endpoint_does_not_know_is_left_out_if_configured() -> None:
    assert sent({**USER, "name": "Ada"}, drop=["include", "store", "name"]) == {"model": "up", "input": [USER]}


@pytest.mark.parametrize(
    ("url", "provider"),
    [
        ("https://api.openai.com/v1", "openai"),
        ("https://x.openai.azure.com/openai/v1", "azure.ai.openai"),
        ("http://llm.internal/v1", "llm.internal"),
        ("embedded", "embedded"),
    ],
)
def test_the_provider_is_known_by_its_host(url: str, provider: str) -> None:
    assert connector(url).provider == provider


@pytest.mark.parametrize("name", ["stop", "seed", "logit_bias", "frequency_penalty", "prediction"])
def test_a_parameter_that_the_format_does_not_have_is_refused(name: str) -> None:
    with pytest.raises(BadRequest, match=name):
        list(connector().stream(Prompt((USER,), (), {name: 1}), Scope()))


@pytest.mark.parametrize(
    ("params", "fields"),
    [
        pytest.param({"temperature": 0, "top_p": 0.5}, {"temperature": 0, "top_p": 0.5}, id="what is the same"),
        pytest.param({"max_tokens": 20}, {"max_output_tokens": 20}, id="the older limit"),
        pytest.param({"max_tokens": 20, "max_completion_tokens": 30}, {"max_output_tokens": 30}, id="both limits"),
        pytest.param({"reasoning_effort": "none"}, {"reasoning": {"effort": "none"}}, id="effort"),
        pytest.param({"verbosity": "low"}, {"text": {"verbosity": "low"}}, id="verbosity"),
        pytest.param({"parallel_tool_calls": False}, {"parallel_tool_calls": False}, id="one call at a time"),
        pytest.param({"tool_choice": "required"}, {"tool_choice": "required"}, id="any tool"),
        pytest.param(
            {"tool_choice": {"type": "function", "function": {"name": "f"}}},
            {"tool_choice": {"type": "function", "name": "f"}},
            id="one tool",
        ),
        pytest.param(
            {
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]},
                }
            },
            {"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]}},
            id="some tools",
        ),
        pytest.param({"response_format": {"type": "text"}}, {"text": {"format": {"type": "text"}}}, id="text"),
        pytest.param(
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}, "strict": True}}},
            {"text": {"format": {"type": "json_schema", "name": "n", "schema": {}, "strict": True}}},
            id="structured output",
        ),
    ],
)
def test_parameters_go_by_their_other_names(params: dict[str, Any], fields: dict[str, Any]) -> None:
    assert sent(**params) == {**sent(), **fields}


def test_log_probabilities_are_included() -> None:
    body = sent(logprobs=True, top_logprobs=2)

    assert body["include"] == ["reasoning.encrypted_content", "message.output_text.logprobs"]
    assert body["top_logprobs"] == 2


def test_a_tool_is_strict_only_if_it_says_so() -> None:
    tools = ({"type": "function", "function": {"name": "f"}}, {"type": "function", "function": {**CALLABLE}})

    body = connector().render_prompt(Prompt((USER,), tools), False)

    nothing = {"type": "object", "properties": {}}
    assert body["tools"] == [
        {"type": "function", "name": "f", "parameters": nothing, "strict": False},
        {"type": "function", **CALLABLE},
    ]


CALLABLE = {"name": "g", "description": "G", "parameters": {"type": "object"}, "strict": True}


def test_parts_of_a_user_go_by_their_other_names() -> None:
    content = [
        {"type": "text", "text": "Look", "prompt_cache_breakpoint": {"mode": "explicit"}},
        {"type": "image_url", "image_url": {"url": "http://x/y.png", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "http://x/z.png"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="}},
    ]

    assert items_of({"role": "user", "content": content})[0]["content"] == [
        {"type": "input_text", "text": "Look", "prompt_cache_breakpoint": {"mode": "explicit"}},
        {"type": "input_image", "image_url": "http://x/y.png", "detail": "low"},
        {"type": "input_image", "image_url": "http://x/z.png"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="},
    ]


@pytest.mark.parametrize("role", ["system", "developer"])
def test_who_instructs_keeps_place_and_role(role: str) -> None:
    said = [USER, {"role": role, "content": [{"type": "text", "text": "Be brief."}]}]

    assert items_of(*said) == [USER, {"role": role, "content": [{"type": "input_text", "text": "Be brief."}]}]


@pytest.mark.parametrize(
    ("said", "content"),
    [
        pytest.param({"content": "Hi"}, "Hi", id="text"),
        pytest.param({"content": ""}, "", id="nothing"),
        pytest.param(
            {"content": [{"type": "text", "text": "Hi"}, {"type": "refusal", "refusal": "No"}]},
            [{"type": "output_text", "text": "Hi"}, {"type": "refusal", "refusal": "No"}],
            id="parts",
        ),
        pytest.param({"content": None, "refusal": "No"}, [{"type": "refusal", "refusal": "No"}], id="a refusal"),
        pytest.param(
            {"content": "Well.", "refusal": "No"},
            [{"type": "output_text", "text": "Well."}, {"type": "refusal", "refusal": "No"}],
            id="text and a refusal",
        ),
        pytest.param(
            {"content": [{"type": "text", "text": "Well."}], "refusal": "No"},
            [{"type": "output_text", "text": "Well."}, {"type": "refusal", "refusal": "No"}],
            id="parts and a refusal",
        ),
    ],
)
def test_what_the_assistant_said_is_output(said: Message, content: Any) -> None:
    assert items_of({"role": "assistant", **said}) == [{"role": "assistant", "content": content}]


def calling(*ids: str, **fields: Any) -> Message:
    """An assistant's message with these calls."""
    calls = [{"id": id_, "type": "function", "function": {"name": "f", "arguments": ""}} for id_ in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls, **fields}


def test_calls_and_results_are_items() -> None:
    result = {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "2"}]}

    assert items_of(calling("a", content="Wait."), result) == [
        {"role": "assistant", "content": "Wait."},
        {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "a", "output": [{"type": "input_text", "text": "2"}]},
    ]


def test_ids_that_are_too_long_are_always_shortened_to_the_same() -> None:
    first, second = items_of(calling("x" * 65), {"role": "tool", "tool_call_id": "x" * 65, "content": "2"})

    assert first["call_id"] == second["call_id"]
    assert len(first["call_id"]) < 65


@pytest.mark.parametrize(
    ("said", "param"),
    [
        pytest.param({**USER, "name": "Ada"}, "messages[0].name", id="a name"),
        pytest.param({"role": "function", "content": "1"}, "messages[0].role", id="a function's message"),
        pytest.param({"role": "assistant", "audio": {"id": "a"}}, "messages[0].audio", id="audio of before"),
        pytest.param({"role": "user", "content": [{"type": "input_audio"}]}, "messages[0].content[0].type", id="audio"),
        pytest.param(
            {"role": "assistant", "tool_calls": [{"id": "a", "type": "custom", "custom": {}}]},
            "messages[0].tool_calls[0].type",
            id="a custom tool",
        ),
    ],
)
def test_what_has_no_place_in_an_item_is_refused(said: Message, param: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        sent(said)
    assert refusal.value.param == param


def test_reasoning_goes_back_before_the_call_that_it_led_to() -> None:
    other = {**THOUGHT, "encrypted_content": "OTHER"}

    reply = told(THOUGHT, message("Wait.", phase="commentary"), other, CALL, THOUGHT, {**CALL, "call_id": "b"})

    assert items_of(reply.message) == [
        SENT_BACK,
        {"role": "assistant", "content": "Wait.", "phase": "commentary"},
        {**SENT_BACK, "encrypted_content": "OTHER"},
        {"type": "function_call", "call_id": "a", "name": "f", "arguments": '{"x":1}'},
        SENT_BACK,
        {"type": "function_call", "call_id": "b", "name": "f", "arguments": '{"x":1}'},
    ]


def test_reasoning_goes_back_wherever_its_item_ended_in_the_stream() -> None:
    reply = streamed(
        event("output_item.added", 0, item={**THOUGHT, "encrypted_content": "EARLY"}),
        event("output_item.added", 1, item={**CALL, "arguments": ""}),
        event("output_item.done", 1, item=CALL),
        event("output_item.done", 0, item=THOUGHT),
        end(),
    )

    assert items_of(reply.message)[0] == SENT_BACK


def test_reasoning_that_can_be_read_keeps_its_id() -> None:
    thought = {"type": "reasoning", "id": "1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]}

    reply = told({**thought, "status": "completed", "encrypted_content": None}, CALL)

    assert (reply.reasoning, items_of(reply.message)[0]) == ("hm", thought)


@pytest.mark.parametrize(
    "items",
    [
        pytest.param([message(), THOUGHT], id="nothing follows"),
        pytest.param([{**THOUGHT, "encrypted_content": None}, message()], id="nothing is in it"),
    ],
)
def test_reasoning_that_would_be_refused_does_not_go_back(items: list[Any]) -> None:
    assert "memo" not in told(*items).message


def test_what_other_providers_want_back_is_not_sent() -> None:
    assert len(items_of(calling("a", memo={"anthropic": [{"before": "a"}]}))) == 1
