"""Chat Completions tools, the choice among them, and structured output in Anthropic's words."""

from collections.abc import Mapping
from typing import Any

from app.messages import Prompt, ToolSpec
from connectors._anthropic_message import unsupported

ANSWER = "answer_in_json"
"""The tool that is forced where an answer in JSON cannot be had otherwise: its arguments are the answer."""

ANSWER_DESCRIPTION = "Gives the answer to the user, in the form that was asked for: all of it, and nothing else."

OBJECT = {"type": "object", "properties": {}}
ANY_OBJECT = {"type": "object", "additionalProperties": True}
CHOICES = {"auto": "auto", "required": "any", "none": "none"}


def render_tools(prompt: Prompt, structured: bool) -> dict[str, Any]:
    """`tools` and `tool_choice` as far as `prompt` needs them.

    Args:
        structured: whether the model has structured outputs and strict tools; if not, an answer by a schema is
            asked for as a call, and schemas of tools are what the model strives for.

    Raises:
        BadRequest: the choice is none that can be made.
    """
    choice = prompt.params.get("tool_choice")
    offered = prompt.tools
    if isinstance(choice, dict) and choice["type"] == "allowed_tools":
        offered, choice = _allow(offered, choice["allowed_tools"])
    tools = [_render_tool(tool["function"], structured) for tool in offered]
    rendered = _render_choice(choice) if tools else {}
    answer = _render_answer(prompt.params, structured)
    if answer and rendered.get("type") != "tool":
        rendered = _force(rendered, bool(tools))
        tools.append(answer)
    if not tools:
        # Calls in the history want tools to be defined, even where none may be called any more.
        tools = [{"name": name, "input_schema": OBJECT} for name in _find_called(prompt)]
        rendered = {"type": "none"}
    if prompt.params.get("parallel_tool_calls") is False and rendered.get("type") != "none":
        rendered = {"type": "auto", **rendered, "disable_parallel_tool_use": True}
    return {key: value for key, value in (("tools", tools), ("tool_choice", rendered)) if tools and value}


def render_format(params: Mapping[str, Any], structured: bool) -> dict[str, Any]:
    """What `output_config` says of the answer's form: a strict schema."""
    if not structured or not _is_strict(params):
        return {}
    return {"format": {"type": "json_schema", "schema": _find_schema(params)}}


def _allow(tools: tuple[ToolSpec, ...], allowed: dict[str, Any]) -> tuple[tuple[ToolSpec, ...], str]:
    """The tools that may be called, and how: Anthropic has no way to forbid some of those it is told of."""
    names = [_find_name(entry) for entry in allowed["tools"]]
    chosen = tuple(tool for tool in tools if tool["function"]["name"] in names)
    if not chosen:
        raise unsupported("tool_choice.allowed_tools.tools", "names of tools that are not offered")
    return chosen, allowed["mode"]


def _find_name(entry: Any) -> Any:
    function = entry.get("function") if isinstance(entry, dict) else None
    return function.get("name") if isinstance(function, dict) else None


def _render_tool(function: dict[str, Any], structured: bool) -> dict[str, Any]:
    if function["name"] == ANSWER:
        raise unsupported("tools", f"a function of the name '{ANSWER}'")
    tool = {"name": function["name"], "input_schema": function.get("parameters") or OBJECT}
    if function.get("description"):
        tool["description"] = function["description"]
    if function.get("strict") and structured:
        tool["strict"] = True
    return tool


def _render_choice(choice: Any) -> dict[str, Any]:
    if isinstance(choice, dict):
        return {"type": "tool", "name": choice["function"]["name"]}
    return {"type": CHOICES[choice]} if choice else {}


def _force(choice: Mapping[str, Any], others: bool) -> dict[str, Any]:
    """The choice that makes the model answer by the tool for it, or call one of the `others` if it may."""
    if others and choice.get("type") != "none":
        return {"type": "any", "disable_parallel_tool_use": True}
    return {"type": "tool", "name": ANSWER}


def _render_answer(params: Mapping[str, Any], structured: bool) -> dict[str, Any] | None:
    """The tool for an answer in JSON, if it takes one."""
    kind = params.get("response_format", {}).get("type", "text")
    if kind == "text" or (structured and _is_strict(params)):
        return None
    return {"name": ANSWER, "description": ANSWER_DESCRIPTION, "input_schema": _find_schema(params)}


def _is_strict(params: Mapping[str, Any]) -> bool:
    wanted = params.get("response_format", {}).get("json_schema", {})
    return bool(wanted.get("strict")) and "schema" in wanted


def _find_schema(params: Mapping[str, Any]) -> dict[str, Any]:
    wanted = params["response_format"].get("json_schema", {})
    described = {"description": wanted["description"]} if wanted.get("description") else {}
    return {**described, **(wanted.get("schema") or ANY_OBJECT)}


def _find_called(prompt: Prompt) -> list[str]:
    calls = (call for message in prompt.messages for call in message.get("tool_calls") or ())
    return list(dict.fromkeys(call["function"]["name"] for call in calls))
