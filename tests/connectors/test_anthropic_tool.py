"""Anthropic's Messages API: what tools, choices and forms of answers become in it."""

from typing import Any

import pytest
from messages_api import OTHER, SCHEMA, TOOL, USER, call, called, refusal, result, sent

from connectors._anthropic_tool import ANSWER

RENDERED = {"name": "f", "description": "does", "input_schema": SCHEMA, "strict": True}
RENDERED_OTHER = {"name": "g", "input_schema": {"type": "object", "properties": {}}}
NAMED = {"type": "function", "function": {"name": "g"}}


def allowed(mode: str, *tools: Any) -> dict[str, Any]:
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": list(tools)}}


def test_tools_are_offered() -> None:
    body = sent(tools=(TOOL, OTHER))

    assert body["tools"] == [RENDERED, RENDERED_OTHER]
    assert "tool_choice" not in body


def test_tools_are_not_strict_for_models_that_cannot_be() -> None:
    assert "strict" not in sent(tools=(TOOL,), options={"structured": False})["tools"][0]


@pytest.mark.parametrize(
    ("params", "choice"),
    [
        ({"tool_choice": "auto"}, {"type": "auto"}),
        ({"tool_choice": "none"}, {"type": "none"}),
        ({"tool_choice": "required"}, {"type": "any"}),
        ({"tool_choice": NAMED}, {"type": "tool", "name": "g"}),
        ({"tool_choice": NAMED, "parallel_tool_calls": True}, {"type": "tool", "name": "g"}),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
        (
            {"tool_choice": "required", "parallel_tool_calls": False},
            {"type": "any", "disable_parallel_tool_use": True},
        ),
        ({"tool_choice": "none", "parallel_tool_calls": False}, {"type": "none"}),
    ],
)
def test_the_choice_among_tools_is_told(params: dict[str, Any], choice: dict[str, Any]) -> None:
    body = sent(tools=(TOOL, OTHER), **params)

    assert (body["tools"], body["tool_choice"]) == ([RENDERED, RENDERED_OTHER], choice)


@pytest.mark.parametrize(("mode", "choice"), [("auto", "auto"), ("required", "any")])
def test_only_allowed_tools_are_offered(mode: str, choice: str) -> None:
    body = sent(tools=(TOOL, OTHER), tool_choice=allowed(mode, NAMED))

    assert (body["tools"], body["tool_choice"]) == ([RENDERED_OTHER], {"type": choice})


@pytest.mark.parametrize("entry", [{"type": "function", "function": {"name": "h"}}, {"function": "g"}, "g"])
def test_allowed_tools_that_are_not_offered_are_refused(entry: Any) -> None:
    error = refusal(tools=(TOOL, OTHER), tool_choice=allowed("auto", entry))

    assert error.param == "tool_choice.allowed_tools.tools"


def test_tools_that_were_called_are_told_where_none_is_offered() -> None:
    body = sent(USER, called(call("a", "g"), call("b", "g")), result("a"), result("b"), parallel_tool_calls=False)

    assert (body["tools"], body["tool_choice"]) == ([RENDERED_OTHER], {"type": "none"})


def json_schema(**of: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", **of}}


STRICT = json_schema(strict=True, description="A number", schema=SCHEMA)
LOOSE = json_schema(schema=SCHEMA)
DESCRIBED = {"description": "A number", **SCHEMA}
FORCED = {"type": "tool", "name": ANSWER}
ANY_OBJECT = {"type": "object", "additionalProperties": True}


def test_an_answer_by_a_strict_schema_is_asked_for_natively() -> None:
    body = sent(tools=(OTHER,), response_format=STRICT, reasoning_effort="low")

    assert body["output_config"] == {"effort": "low", "format": {"type": "json_schema", "schema": DESCRIBED}}
    assert body["tools"] == [RENDERED_OTHER]


@pytest.mark.parametrize(
    ("wanted", "structured", "schema"),
    [
        pytest.param(STRICT, False, DESCRIBED, id="strict, but not native"),
        pytest.param(LOOSE, True, SCHEMA, id="loose"),
        pytest.param(json_schema(strict=True), True, ANY_OBJECT, id="no schema"),
        pytest.param({"type": "json_object"}, True, ANY_OBJECT, id="any object"),
    ],
)
def test_other_answers_in_json_are_forced_by_a_tool(wanted: Any, structured: bool, schema: Any) -> None:
    body = sent(response_format=wanted, options={"structured": structured})

    (tool,) = body["tools"]
    assert (tool["name"], tool["input_schema"], body["tool_choice"]) == (ANSWER, schema, FORCED)
    assert "output_config" not in body


@pytest.mark.parametrize(
    ("choice", "rendered"),
    [
        ("auto", {"type": "any", "disable_parallel_tool_use": True}),
        ("required", {"type": "any", "disable_parallel_tool_use": True}),
        ("none", FORCED),
    ],
)
def test_a_forced_answer_lets_other_tools_be_called(choice: str, rendered: Any) -> None:
    body = sent(tools=(OTHER,), tool_choice=choice, response_format=LOOSE)

    assert [tool["name"] for tool in body["tools"]] == ["g", ANSWER]
    assert body["tool_choice"] == rendered


def test_a_call_that_is_forced_goes_before_an_answer_in_json() -> None:
    assert sent(tools=(OTHER,), tool_choice=NAMED, response_format=LOOSE)["tools"] == [RENDERED_OTHER]


def test_a_tool_of_the_name_of_ours_is_refused() -> None:
    assert refusal(tools=({"type": "function", "function": {"name": ANSWER}},)).param == "tools"
