"""The words in which a chat request is refused: every one that was recorded."""

from typing import Any

import pytest

from app.api.chat_request import ChatRequest
from app.errors import BadRequest

REQUEST = ChatRequest()

PARAMETERS = {"type": "object", "properties": {"a": {"type": "string"}}}

NOTHING_BUT = "Invalid schema for {}: In context=(), 'additionalProperties' is required to be supplied and to be false."


def tool(name: str = "f", **function: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **function}}


def refuse(body: dict[str, Any]) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        REQUEST.parse({"messages": [{"role": "user", "content": "ping"}], **body})
    return caught.value


@pytest.mark.parametrize(
    ("body", "param", "code", "message"),
    [
        ({"zzz": 1}, "zzz", "unknown_parameter", "Unknown parameter: 'zzz'."),
        ({"stor": 1}, "stor", "unknown_parameter", "Unknown parameter: 'stor'. Did you mean 'stop' or 'store'?"),
        ({"messagess": 1}, "messagess", "unknown_parameter", "Unknown parameter: 'messagess'."),
        (
            {"stream_options": {"bogus": 1}},
            "stream_options.bogus",
            "unknown_parameter",
            "Unknown parameter: 'stream_options.bogus'.",
        ),
        (
            {"messages": "ping"},
            "messages",
            "invalid_type",
            "Invalid type for 'messages': expected an array of objects, but got a string instead.",
        ),
        (
            {"messages": None},
            "messages",
            "invalid_type",
            "Invalid type for 'messages': expected an array of objects, but got null instead.",
        ),
        (
            {"messages": []},
            "messages",
            "empty_array",
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.",
        ),
        (
            {"messages": [{"role": "bogus"}]},
            "messages[0].role",
            "invalid_value",
            "Invalid value: 'bogus'. Supported values are: "
            "'system', 'assistant', 'user', 'function', 'tool', and 'developer'.",
        ),
        (
            {"messages": [{"role": "user", "content": 7}]},
            "messages[0].content",
            "invalid_type",
            "Invalid type for 'messages[0].content': "
            "expected one of a string or array of objects, but got an integer instead.",
        ),
        (
            {"functions": "x"},
            "functions",
            "invalid_type",
            "Invalid type for 'functions': expected an array of function definitions, but got a string instead.",
        ),
        (
            {"functions": []},
            "functions",
            "empty_array",
            "Invalid 'functions': empty array. "
            "Expected an array with minimum length 1, but got an empty array instead.",
        ),
        (
            {"functions": [{"name": "f"}], "function_call": {"zzz": 1}},
            "function_call.name",
            "missing_required_parameter",
            "Missing required parameter: 'function_call.name'.",
        ),
        (
            {"tools": [tool()] * 129},
            "tools",
            "array_above_max_length",
            "Invalid 'tools': array too long. "
            "Expected an array with maximum length 128, but got an array with length 129 instead.",
        ),
        (
            {"tools": [{"type": "web_search"}]},
            "tools[0].type",
            "invalid_value",
            "Invalid value: 'web_search'. Supported values are: 'function' and 'custom'.",
        ),
        (
            {"tools": [{"type": "function"}]},
            "tools[0].function",
            "missing_required_parameter",
            "Missing required parameter: 'tools[0].function'.",
        ),
        (
            {"tools": [tool("")]},
            "tools[0].function.name",
            "empty_string",
            "Invalid 'tools[0].function.name': empty string. "
            "Expected a string with minimum length 1, but got an empty string instead.",
        ),
        (
            {"tools": [tool("a b")]},
            "tools[0].function.name",
            "invalid_value",
            "Invalid 'tools[0].function.name': string does not match pattern. "
            "Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'.",
        ),
        (
            {"tools": [tool("f" * 65)]},
            "tools[0].function.name",
            "string_above_max_length",
            "Invalid 'tools[0].function.name': string too long. "
            "Expected a string with maximum length 64, but got a string with length 65 instead.",
        ),
        (
            {"tool_choice": 7},
            "tool_choice",
            "invalid_type",
            "Invalid type for 'tool_choice': "
            "expected one of one of 'none', 'auto', or 'required' or object, but got an integer instead.",
        ),
        (
            {"tool_choice": {"type": "function", "function": {}}},
            "tool_choice.function.name",
            "missing_required_parameter",
            "Missing required parameter: 'tool_choice.function.name'.",
        ),
        (
            {"n": "2"},
            "n",
            "invalid_type",
            "Invalid type for 'n': expected an integer, but got a string instead.",
        ),
        (
            {"n": 0},
            "n",
            "integer_below_min_value",
            "Invalid 'n': integer below minimum value. Expected a value >= 1, but got 0 instead.",
        ),
        (
            {"n": 64},
            "n",
            "integer_above_max_value",
            "Invalid 'n': integer above maximum value. Expected a value <= 8, but got 64 instead.",
        ),
        (
            {"seed": 1.5},
            "seed",
            "invalid_type",
            "Invalid type for 'seed': expected an integer, but got a decimal number instead.",
        ),
        (
            {"temperature": "hot"},
            "temperature",
            "invalid_type",
            "Invalid type for 'temperature': expected a decimal, but got a string instead.",
        ),
        (
            {"temperature": 2.5},
            "temperature",
            "decimal_above_max_value",
            "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 2.5 instead.",
        ),
        (
            {"presence_penalty": -3},
            "presence_penalty",
            "decimal_below_min_value",
            "Invalid 'presence_penalty': decimal below minimum value. Expected a value >= -2, but got -3 instead.",
        ),
        (
            {"verbosity": "x"},
            "verbosity",
            "invalid_value",
            "Invalid value: 'x'. Supported values are: 'low', 'medium', and 'high'.",
        ),
        (
            {"prompt_cache_retention": {}},
            "prompt_cache_retention",
            "invalid_type",
            "Invalid type for 'prompt_cache_retention': "
            "expected one of 'in_memory' or '24h', but got an object instead.",
        ),
        (
            {"response_format": {}},
            "response_format.type",
            "missing_required_parameter",
            "Missing required parameter: 'response_format.type'.",
        ),
        (
            {"response_format": {"type": "x"}},
            "response_format.type",
            "invalid_value",
            "Invalid value: 'x'. Supported values are: 'json_object', 'json_schema', and 'text'.",
        ),
        (
            {"stop": 7},
            "stop",
            "invalid_type",
            "Invalid type for 'stop': expected one of a string or array of strings, but got an integer instead.",
        ),
        (
            {"stop": ["a"] * 5},
            "stop",
            "array_above_max_length",
            "Invalid 'stop': array too long. "
            "Expected an array with maximum length 4, but got an array with length 5 instead.",
        ),
        (
            {"metadata": "x"},
            "metadata",
            "invalid_type",
            "Invalid type for 'metadata': expected a metadata object, but got a string instead.",
        ),
        (
            {"metadata": {"k": "x" * 600}},
            "metadata.k",
            "string_above_max_length",
            "Invalid 'metadata.k': string too long. "
            "Expected a string with maximum length 512, but got a string with length 600 instead.",
        ),
        (
            {"metadata": {f"k{i}": "v" for i in range(17)}},
            "metadata",
            "object_above_max_properties",
            "Invalid 'metadata': too many properties. "
            "Expected an object with at most 16 properties, but got an object with 17 properties instead.",
        ),
        (
            {"metadata": {"k" * 70: "v"}},
            f"metadata.{'k' * 70}",
            "property_name_above_max_length",
            "Invalid property name in 'metadata': 'kkk...kkk' is too long. "
            "Expected a string with maximum length 64, but got a string with length 70 instead.",
        ),
    ],
)
def test_fields_are_refused_in_the_recorded_words(body: dict[str, Any], param: str, code: str, message: str) -> None:
    error = refuse(body)

    assert (error.param, error.code, error.message) == (param, code, message)


@pytest.mark.parametrize(
    ("body", "param", "code", "message"),
    [
        (
            {"stream_options": {}},
            "stream_options",
            None,
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
        ),
        (
            {"top_logprobs": 1, "logprobs": False},
            "top_logprobs",
            None,
            "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.",
        ),
        (
            {"tools": [], "tool_choice": "auto"},
            "tool_choice",
            None,
            "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified.",
        ),
        (
            {"tools": [tool()], "tool_choice": {"type": "function", "function": {"name": "x"}}},
            "function_call",
            None,
            "Invalid value for 'function_call': no function named 'x' was specified in the 'functions' parameter.",
        ),
        (
            {"response_format": {"type": "json_object"}},
            "messages",
            None,
            "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
        ),
        (
            {"tools": [tool(parameters={"properties": {}})]},
            "tools[0].function.parameters",
            "invalid_function_parameters",
            "Invalid schema for function 'f': "
            """schema must be a JSON Schema of 'type: "object"', got 'type: "None"'.""",
        ),
        (
            {"tools": [tool(), tool(parameters=PARAMETERS, strict=True)]},
            "tools[1].function.parameters",
            "invalid_function_parameters",
            NOTHING_BUT.format("function 'f'"),
        ),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "schema": PARAMETERS, "strict": True},
                }
            },
            "response_format",
            None,
            NOTHING_BUT.format("response_format 'x'"),
        ),
        (
            {"messages": [{"role": "user"}]},
            "messages.[0].content",
            None,
            "Invalid value for 'content': expected a string, got null.",
        ),
        (
            {"messages": [{"role": "tool", "tool_call_id": "c", "content": "x"}]},
            "messages.[0].role",
            None,
            "Invalid parameter: messages with role 'tool' must be a response to a preceeding message "
            "with 'tool_calls'.",
        ),
    ],
)
def test_fields_that_contradict_each_other_are_refused_in_the_recorded_words(
    body: dict[str, Any], param: str, code: str | None, message: str
) -> None:
    error = refuse(body)

    assert (error.param, error.code, error.message) == (param, code, message)
