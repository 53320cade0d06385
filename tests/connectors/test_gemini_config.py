"""Tools and parameters as Gemini wants them."""

from typing import Any

import pytest
from gemini_api import HI, SCHEMA, USER, body, gemini, sent, tool

from app.errors import BadRequest
from app.messages import Prompt
from app.scope import Scope


def test_tools_are_declared_with_their_schema() -> None:
    tools = tool("f", description="Does", parameters=SCHEMA), tool("g", description="", parameters={})

    assert sent(USER, tools=tools, parallel_tool_calls=True) == {
        "contents": [HI],
        "tools": [
            {
                "functionDeclarations": [
                    {"name": "f", "description": "Does", "parametersJsonSchema": SCHEMA},
                    {"name": "g"},
                ]
            }
        ],
    }


def allowed(mode: str, *names: str) -> dict[str, Any]:
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [tool(name) for name in names]}}


@pytest.mark.parametrize(
    ("choice", "config", "declared"),
    [
        ("auto", None, ["f", "g"]),
        ("none", {"mode": "NONE"}, ["f", "g"]),
        ("required", {"mode": "ANY"}, ["f", "g"]),
        ({"type": "function", "function": {"name": "g"}}, {"mode": "ANY", "allowedFunctionNames": ["g"]}, ["f", "g"]),
        (allowed("auto", "g"), None, ["g"]),
        (allowed("required", "g"), {"mode": "ANY", "allowedFunctionNames": ["g"]}, ["f", "g"]),
    ],
)
def test_the_choice_of_tools_is_a_mode(choice: Any, config: dict[str, Any] | None, declared: list[str]) -> None:
    rendered = sent(USER, tools=(tool("f"), tool("g")), tool_choice=choice)

    assert rendered.get("toolConfig", {}).get("functionCallingConfig") == config
    assert [each["name"] for each in rendered["tools"][0]["functionDeclarations"]] == declared


def test_strict_tools_are_validated() -> None:
    rendered = sent(USER, tools=(tool("f"), tool("g", strict=True)))

    assert rendered["toolConfig"] == {"functionCallingConfig": {"mode": "VALIDATED"}}


@pytest.mark.parametrize(
    "choice",
    [
        pytest.param(allowed("auto", "h"), id="unknown"),
        pytest.param(
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"type": "mcp"}]}}, id="no function"
        ),
        pytest.param({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": ["f"]}}, id="no object"),
    ],
)
def test_allowed_tools_that_are_none_are_refused(choice: dict[str, Any]) -> None:
    with pytest.raises(BadRequest) as refused:
        sent(USER, tools=(tool("f"),), tool_choice=choice)

    assert refused.value.param == "tool_choice"


def test_parameters_have_their_own_names() -> None:
    params: dict[str, Any] = {"temperature": 0, "top_p": 0.5, "seed": 7, "frequency_penalty": 1, "presence_penalty": -1}

    rendered = sent(USER, **params, max_tokens=3, max_completion_tokens=4, stop="x", logprobs=True, top_logprobs=2)

    assert rendered["generationConfig"] == {
        "temperature": 0,
        "topP": 0.5,
        "seed": 7,
        "frequencyPenalty": 1,
        "presencePenalty": -1,
        "maxOutputTokens": 4,
        "stopSequences": ["x"],
        "responseLogprobs": True,
        "logprobs": 2,
    }


def test_parameters_that_say_nothing_are_not_sent() -> None:
    assert sent(USER, logprobs=False, response_format={"type": "text"}) == {"contents": [HI]}
    assert sent(USER, logprobs=True, top_logprobs=0)["generationConfig"] == {"responseLogprobs": True}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", 2.1),
        ("top_p", -0.1),
        ("presence_penalty", 3),
        ("seed", 2**31),
        ("max_tokens", 0),
        ("stop", ["a"] * 6),
        ("reasoning_effort", "max"),
        ("reasoning_effort", "none"),
        ("parallel_tool_calls", False),
    ],
)
def test_values_that_gemini_has_not_are_refused(name: str, value: Any) -> None:
    with pytest.raises(BadRequest) as refused:
        sent(USER, tools=(tool("f"),), **{name: value})

    assert refused.value.param == name


@pytest.mark.parametrize("name", ["logit_bias", "service_tier", "prompt_cache_key", "verbosity", "prediction"])
def test_parameters_that_gemini_has_not_are_refused(name: str) -> None:
    with pytest.raises(BadRequest) as refused:
        next(gemini().stream(Prompt((USER,), (), {name: "x"}), Scope()))

    assert refused.value.param == name


@pytest.mark.parametrize(
    ("wanted", "config"),
    [
        ({"type": "json_object"}, {"responseMimeType": "application/json"}),
        ({"type": "json_schema", "json_schema": {"name": "a"}}, {"responseMimeType": "application/json"}),
        (
            {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA, "strict": True}},
            {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA},
        ),
    ],
)
def test_structured_output_is_native(wanted: dict[str, Any], config: dict[str, Any]) -> None:
    assert sent(USER, response_format=wanted)["generationConfig"] == config


@pytest.mark.parametrize(
    ("options", "effort", "config"),
    [
        ({}, "minimal", {"thinkingLevel": "minimal"}),
        ({"model": "gemini-2.5-flash"}, "none", {"thinkingBudget": 0}),
        ({"model": "gemini-2.5-flash"}, "high", {"thinkingBudget": 24_576}),
        ({"thinking": "budget"}, "medium", {"thinkingBudget": 8192}),
        ({"model": "gemini-2.5-flash", "thinking": "level"}, "low", {"thinkingLevel": "low"}),
        ({"thoughts": True}, "high", {"thinkingLevel": "high", "includeThoughts": True}),
        ({"thoughts": True}, None, {"includeThoughts": True}),
    ],
)
def test_effort_is_a_level_or_a_budget(options: dict[str, Any], effort: str | None, config: dict[str, Any]) -> None:
    params = {"reasoning_effort": effort} if effort else {}

    assert body(gemini(**options), USER, **params)["generationConfig"] == {"thinkingConfig": config}
