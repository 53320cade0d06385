"""The body of a chat request: every field's limits, the order of faults, and what this service does not do."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.chat_request import ChatRequest
from app.errors import BadRequest

REQUEST = ChatRequest()

MESSAGES = [{"role": "user", "content": "ping"}]

MODEL = "urn:cadenza:flow=chat"

PARAMETERS = {"type": "object", "properties": {"a": {"type": "string"}}}

STRICT = {**PARAMETERS, "required": ["a"], "additionalProperties": False}

ORDER = re.findall(
    r"\w+",
    """
    messages functions function_call tools tool_choice parallel_tool_calls max_completion_tokens n temperature
    top_p presence_penalty frequency_penalty logprobs top_logprobs user seed moderation safety_identifier
    prompt_cache_options prompt_cache_key prompt_cache_retention response_format service_tier max_tokens
    reasoning_effort logit_bias stop stream stream_options store metadata prediction verbosity modalities audio
    web_search_options model
    """,
)
"""The fields in the order in which their faults are reported."""

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["type", "role", "function"]), inner),
    max_leaves=10,
)


def tool(name: str = "f", **function: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **function}}


def schema_format(schema: Any, strict: bool = True) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": strict}}


def nest(depth: int) -> dict[str, Any]:
    schema = STRICT
    for _ in range(depth):
        schema = {**STRICT, "properties": {"a": schema}}
    return schema


def refuse(body: dict[str, Any]) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        REQUEST.parse({"model": MODEL, "messages": MESSAGES, **body})
    assert caught.value.status == 400
    return caught.value


EVERYTHING: dict[str, Any] = {
    "tools": [tool(description="d", parameters=PARAMETERS), tool("g", parameters=STRICT, strict=True)],
    "tool_choice": {"type": "function", "function": {"name": "g"}},
    "parallel_tool_calls": False,
    "max_completion_tokens": 1,
    "n": 8,
    "temperature": 2,
    "top_p": 0.5,
    "presence_penalty": -2,
    "frequency_penalty": 2.0,
    "logprobs": True,
    "top_logprobs": 20,
    "user": "alice",
    "seed": -(2**63),
    "safety_identifier": "s" * 64,
    "prompt_cache_options": {"ttl": "30m", "mode": "implicit"},
    "prompt_cache_key": "k",
    "prompt_cache_retention": "24h",
    "response_format": schema_format(STRICT),
    "service_tier": "flex",
    "max_tokens": 1,
    "reasoning_effort": "none",
    "logit_bias": {"50256": -100},
    "stop": ["a", "b", "c", "d"],
    "stream": True,
    "stream_options": {"include_usage": True, "include_obfuscation": False},
    "store": False,
    "metadata": {f"k{i}": "v" * 512 for i in range(16)},
    "prediction": {"type": "content", "content": [{"type": "text", "text": "pong"}]},
    "verbosity": "low",
    "modalities": ["text"],
}


def test_every_supported_field_passes_as_it_is() -> None:
    body = {"model": MODEL, "messages": MESSAGES, **EVERYTHING}

    assert REQUEST.parse(body) == body
    assert EVERYTHING.keys() >= set(ORDER) - {"messages", "model", "functions", "function_call"} - {
        "moderation",
        "audio",
        "web_search_options",
    }


def test_null_for_every_optional_field_is_the_same_as_absent() -> None:
    body = {"model": MODEL, "messages": MESSAGES}

    assert REQUEST.parse({**dict.fromkeys(ORDER), **body}) == body


@pytest.mark.parametrize(
    ("sent", "parsed"),
    [
        pytest.param({"tools": []}, {}, id="no tools"),
        pytest.param({"stop": "a"}, {"stop": "a"}, id="a single stop"),
        pytest.param({"tools": [tool(strict=None)]}, {"tools": [tool()]}, id="strict is null"),
        pytest.param({"tools": [tool(parameters={})]}, {"tools": [tool(parameters={})]}, id="no parameters"),
    ],
)
def test_what_clients_send_for_nothing_is_taken_for_nothing(sent: dict[str, Any], parsed: dict[str, Any]) -> None:
    assert REQUEST.parse({"messages": MESSAGES, **sent}) == {"messages": MESSAGES, **parsed}


@pytest.mark.parametrize(
    "choice",
    [
        pytest.param("required", id="a word"),
        pytest.param({"type": "function", "function": {"name": "f"}}, id="a function"),
        pytest.param(
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"type": "function"}]}}, id="some"
        ),
    ],
)
def test_tools_may_be_chosen_in_three_ways(choice: Any) -> None:
    assert REQUEST.parse({"messages": MESSAGES, "tools": [tool()], "tool_choice": choice})["tool_choice"] == choice


@pytest.mark.parametrize(
    ("body", "param", "rest"),
    [
        ({"functions": [{"name": "f"}]}, "functions", " Use 'tools' instead."),
        ({"function_call": "auto"}, "function_call", " Use 'tool_choice' instead."),
        ({"moderation": {"model": "omni"}}, "moderation", ""),
        ({"audio": {"voice": "alloy", "format": "wav"}}, "audio", ""),
        ({"web_search_options": {}}, "web_search_options", ""),
    ],
)
def test_parameters_without_effect_here_are_refused_by_name(body: dict[str, Any], param: str, rest: str) -> None:
    error = refuse(body)

    assert (error.param, error.code) == (param, "unsupported_parameter")
    assert error.message == f"Unsupported parameter: '{param}' is not supported with this model.{rest}"


@pytest.mark.parametrize(
    ("body", "param", "value"),
    [
        ({"store": True}, "store", "true"),
        ({"modalities": ["text", "audio"]}, "modalities", "'audio'"),
        ({"tools": [tool(), {"type": "custom", "custom": {"name": "f"}}]}, "tools[1].type", "'custom'"),
        ({"tool_choice": {"type": "custom", "custom": {"name": "f"}}}, "tool_choice.type", "'custom'"),
    ],
)
def test_values_without_effect_here_are_refused_by_name(body: dict[str, Any], param: str, value: str) -> None:
    error = refuse(body)

    assert (error.param, error.code) == (param, "unsupported_value")
    assert error.message == f"Unsupported value: '{param}' does not support {value} with this model."


def test_every_field_is_checked_in_the_recorded_order() -> None:
    # An array of nulls is wrong for every field.
    body: dict[str, Any] = {name: [None] for name in reversed(ORDER)}
    for name in ORDER:
        assert re.split(r"[.[]", str(refuse(body).param))[0] == name
        body[name] = MESSAGES if name == "messages" else None


@pytest.mark.parametrize(
    ("body", "param"),
    [
        pytest.param({"zzz": 1, "n": "x", "messages": []}, "zzz", id="an unknown key before a wrong value"),
        pytest.param({"verbosity": "x", "store": True}, "verbosity", id="a wrong value before what is not done here"),
        pytest.param(
            {"messages": [{"role": "user"}, {"role": "user", "content": 7}]},
            "messages[1].content",
            id="a wrong content before a missing one",
        ),
        pytest.param(
            {"messages": [{"role": "user"}], "store": True}, "store", id="what is not done here before missing content"
        ),
    ],
)
def test_the_first_of_several_faults_is_reported(body: dict[str, Any], param: str) -> None:
    assert refuse(body).param == param


def test_messages_are_missed_before_anything_else() -> None:
    with pytest.raises(BadRequest, match="Missing required parameter: 'messages'"):
        REQUEST.parse({"zzz": 1})


def test_the_number_of_choices_is_the_services_to_limit() -> None:
    assert ChatRequest(max_n=128).parse({"messages": MESSAGES, "n": 128})["n"] == 128
    assert "Expected a value <= 8," in refuse({"n": 9}).message


@pytest.mark.parametrize("text", ["Answer in JSON.", [{"type": "text", "text": "json"}]])
def test_the_word_json_may_be_anywhere_in_the_messages(text: Any) -> None:
    messages = [*MESSAGES, {"role": "system", "content": text}]

    assert REQUEST.parse({"messages": messages, "response_format": {"type": "json_object"}})


@pytest.mark.parametrize(
    "format_",
    [
        pytest.param({"type": "text"}, id="text"),
        pytest.param(schema_format({"anyOf": []}, strict=False), id="not strict"),
        pytest.param({"type": "json_schema", "json_schema": {"name": "x", "strict": True}}, id="no schema"),
    ],
)
def test_a_response_schema_is_only_looked_into_where_it_is_strict(format_: dict[str, Any]) -> None:
    assert REQUEST.parse({"messages": MESSAGES, "response_format": format_})["response_format"] == format_


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"tools": [tool(parameters=nest(300), strict=True)]}, "tools[0].function.parameters"),
        ({"tools": [tool(parameters=nest(300))]}, "tools[0].function.parameters"),
        ({"response_format": schema_format(nest(300))}, "response_format.json_schema.schema"),
    ],
)
def test_a_schema_nested_too_deeply_is_refused(body: dict[str, Any], param: str) -> None:
    assert refuse(body).param == param


@given(name=st.sampled_from(ORDER), value=JSON)
def test_any_json_for_any_field_gives_a_request_or_a_refusal(name: str, value: Any) -> None:
    try:
        json.dumps(REQUEST.parse({"messages": MESSAGES, name: value}))
    except BadRequest as error:
        told = error.body()["error"]
    else:
        return
    assert told["message"]
    assert told["type"] == "invalid_request_error"
