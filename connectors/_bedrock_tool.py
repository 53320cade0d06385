"""Chat Completions tools, the choice among them, structured output and effort in Converse's words."""

from typing import Any

import orjson

from app.messages import Prompt, ToolSpec
from connectors._bedrock_message import Block, unsupported

ANSWER = "answer_in_json"
"""The tool that is forced where an answer in JSON cannot be had otherwise: its arguments are the answer."""

ANSWER_DESCRIPTION = "Gives the answer to the user, in the form that was asked for: all of it, and nothing else."

OBJECT = {"type": "object", "properties": {}}
ANY_OBJECT = {"type": "object", "additionalProperties": True}

NOTHING = {
    "toolSpec": {
        "name": "nothing",
        "description": "Not to be called: there are no tools.",
        "inputSchema": {"json": OBJECT},
    }
}
"""Stands for the tools where there are none: calls in the history want some, and Converse cannot forbid calls."""

CLAUDE = {"minimal": "low", **{effort: effort for effort in ("low", "medium", "high", "xhigh", "max")}}
OTHERS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}
BUDGETS = {"minimal": 1_024, "low": 2_048, "medium": 8_192, "high": 16_384, "xhigh": 32_768, "max": 32_768}
OFF = {"adaptive": {"thinking": {"type": "disabled"}}, "nova": {"reasoningConfig": {"type": "disabled"}}}
OFF["budget"] = OFF["adaptive"]

EFFORTS = {"anthropic": "adaptive", "amazon": "nova", "openai": "openai"}
"""How effort is told to a vendor's models, if not as the configuration says."""


def render_effort(style: str, effort: str) -> Block:
    """`additionalModelRequestFields` for how much to think, in a style of `EFFORTS` or `budget`.

    Raises:
        BadRequest: the model cannot be told not to think.
    """
    if effort == "none":
        if style not in OFF:
            raise unsupported("reasoning_effort", "'none'")
        return OFF[style]
    if style == "adaptive":
        return {"thinking": {"type": "adaptive"}, "output_config": {"effort": CLAUDE[effort]}}
    if style == "budget":
        return {"thinking": {"type": "enabled", "budget_tokens": BUDGETS[effort]}}
    if style == "nova":
        return {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": OTHERS[effort]}}
    return {"reasoning_effort": OTHERS[effort]}


def render_tools(prompt: Prompt, native: bool) -> Block:
    """`toolConfig` and `outputConfig` as far as `prompt` needs them.

    Args:
        native: whether the model takes a schema for its answer; if not, the answer is asked for as a call.

    Raises:
        BadRequest: the choice is none that can be made.
    """
    if prompt.params.get("parallel_tool_calls") is False:
        raise unsupported("parallel_tool_calls", "false")
    tools, choice = _choose(prompt)
    wanted = prompt.params.get("response_format", {"type": "text"})
    body: Block = {}
    if native and wanted.get("json_schema", {}).get("schema"):
        body = {"outputConfig": {"textFormat": _render_format(wanted["json_schema"])}}
    elif wanted["type"] != "text" and "tool" not in choice:
        choice = {"any": {}} if tools else {"tool": {"name": ANSWER}}
        tools.append(_render_answer(wanted.get("json_schema", {})))
    if not tools and any(message.get("tool_calls") for message in prompt.messages):
        tools = [NOTHING]
    if tools:
        body["toolConfig"] = {"tools": tools, **({"toolChoice": choice} if choice else {})}
    return body


def _choose(prompt: Prompt) -> tuple[list[Block], Block]:
    """The tools that may be called, and how: Converse has no way to forbid those that it is told of."""
    offered, choice = prompt.tools, prompt.params.get("tool_choice")
    if isinstance(choice, dict) and choice["type"] == "allowed_tools":
        offered, choice = _allow(offered, choice["allowed_tools"])
    tools = [] if choice == "none" else [_render_tool(tool["function"]) for tool in offered]
    if isinstance(choice, dict):
        return tools, {"tool": {"name": choice["function"]["name"]}}
    return tools, {"any": {}} if choice == "required" else {}


def _allow(tools: tuple[ToolSpec, ...], allowed: dict[str, Any]) -> tuple[tuple[ToolSpec, ...], str]:
    names = [_find_name(entry) for entry in allowed["tools"]]
    chosen = tuple(tool for tool in tools if tool["function"]["name"] in names)
    if not chosen:
        raise unsupported("tool_choice.allowed_tools.tools", "names of tools that are not offered")
    return chosen, allowed["mode"]


def _find_name(entry: Any) -> Any:
    function = entry.get("function") if isinstance(entry, dict) else None
    return function.get("name") if isinstance(function, dict) else None


def _render_tool(function: dict[str, Any]) -> Block:
    if function["name"] in (ANSWER, "nothing"):
        raise unsupported("tools", f"a function of the name '{function['name']}'")
    tool = {"name": function["name"], "inputSchema": {"json": function.get("parameters") or OBJECT}}
    if function.get("description"):
        tool["description"] = function["description"]
    if function.get("strict"):
        tool["strict"] = True
    return {"toolSpec": tool}


def _render_format(wanted: dict[str, Any]) -> Block:
    schema = {"name": wanted["name"], "schema": orjson.dumps(wanted["schema"]).decode()}
    if wanted.get("description"):
        schema["description"] = wanted["description"]
    return {"type": "json_schema", "structure": {"jsonSchema": schema}}


def _render_answer(wanted: dict[str, Any]) -> Block:
    description = wanted.get("description") or ANSWER_DESCRIPTION
    schema = wanted.get("schema") or ANY_OBJECT
    return {"toolSpec": {"name": ANSWER, "description": description, "inputSchema": {"json": schema}}}
