"""What Cohere is asked: a prompt's messages, tools and parameters in its v2 format."""

from typing import Any

from app.errors import BadRequest, ServiceError
from app.messages import Message, Prompt, ToolSpec

RENAMED = {"top_p": "p", "max_completion_tokens": "max_tokens"}
"""Parameters that Cohere calls otherwise."""

RANGES = {
    "temperature": (0, 1),
    "top_p": (0.01, 0.99),
    "frequency_penalty": (0, 1),
    "presence_penalty": (0, 1),
    "seed": (0, 2**64 - 1),
}
"""What Cohere takes where OpenAI takes more (docs.cohere.com/reference/chat)."""

BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192}
"""Tokens of thought by effort; with more effort there is no limit."""

PARAMS = frozenset(
    {
        *RANGES,
        *RENAMED,
        "max_tokens",
        "stop",
        "logprobs",
        "response_format",
        "reasoning_effort",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
    }
)
"""What of a prompt can be said to Cohere."""

NO_PARAMETERS = {"type": "object", "properties": {}}


def render_message(message: Message, index: int, named: bool) -> Message:
    """A message as Cohere wants it; `named` says whether a name in it may be left out."""
    role, place = message["role"], f"messages[{index}]"
    if role == "function" or message.get("function_call"):
        raise unsupported(place, "functions in place of tools")
    if message.get("name") and not named:
        raise unsupported(f"{place}.name", "names")
    content = _render_content(message.get("content"), f"{place}.content")
    if role == "assistant":
        return _render_answer(message, content, place)
    if role == "tool":
        return {"role": role, "tool_call_id": message["tool_call_id"], "content": content}
    return {"role": "user" if role == "user" else "system", "content": content}


def render_params(prompt: Prompt) -> dict[str, Any]:
    """The parameters but for the choice of tools."""
    body: dict[str, Any] = {}
    for name, value in prompt.params.items():
        _check_range(name, value)
        body |= _render_param(name, value)
    if "response_format" in body and prompt.tools:
        raise unsupported("response_format", "JSON together with 'tools'")
    return body


def _check_range(name: str, value: Any) -> None:
    if name not in RANGES:
        return
    low, high = RANGES[name]
    if not low <= value <= high:
        raise BadRequest(
            f"Invalid '{name}': expected a value from {low} to {high} with this model, but got {value} instead.",
            param=name,
        )


def _render_param(name: str, value: Any) -> dict[str, Any]:
    if name == "stop":
        return {"stop_sequences": [value] if isinstance(value, str) else value}
    if name == "reasoning_effort":
        return {"thinking": _render_effort(value)}
    if name == "response_format":
        return _render_format(value)
    if name == "parallel_tool_calls" and not value:
        raise unsupported(name, "false")
    return {} if name in ("tool_choice", "parallel_tool_calls") else {RENAMED.get(name, name): value}


def _render_effort(effort: str) -> dict[str, Any]:
    if effort == "none":
        return {"type": "disabled"}
    budget = BUDGETS.get(effort)
    return {"type": "enabled", "token_budget": budget} if budget else {"type": "enabled"}


def _render_format(chosen: dict[str, Any]) -> dict[str, Any]:
    if chosen["type"] == "text":
        return {}
    wanted = chosen.get("json_schema", {})
    schema = wanted.get("schema")
    if schema and wanted.get("description"):
        schema = {"description": wanted["description"], **schema}
    return {"response_format": {"type": "json_object", **({"json_schema": schema} if schema else {})}}


def render_tools(prompt: Prompt) -> dict[str, Any]:
    """The tools and the choice among them; where it is among some of them, only those are offered."""
    tools, choice = prompt.tools, prompt.params.get("tool_choice", "auto")
    if isinstance(choice, dict):
        names, choice = _parse_choice(choice)
        tools = tuple(tool for tool in tools if tool["function"]["name"] in names)
        if not tools:
            raise unsupported("tool_choice", "names of tools that are not offered")
    body: dict[str, Any] = {}
    if tools:
        body["tools"] = [_render_tool(tool["function"]) for tool in tools]
    if any(tool["function"].get("strict") for tool in tools):
        body["strict_tools"] = True
    return body if choice == "auto" else {**body, "tool_choice": choice.upper()}


def _parse_choice(choice: dict[str, Any]) -> tuple[list[Any], str]:
    if choice["type"] == "function":
        return [choice["function"]["name"]], "required"
    allowed = choice["allowed_tools"]
    return [_find_name(entry) for entry in allowed["tools"]], allowed["mode"]


def _find_name(entry: Any) -> Any:
    function = entry.get("function") if isinstance(entry, dict) else None
    return function.get("name") if isinstance(function, dict) else None


def _render_tool(function: dict[str, Any]) -> ToolSpec:
    known = {key: function[key] for key in ("name", "description") if function.get(key)}
    return {"type": "function", "function": {**known, "parameters": function.get("parameters") or NO_PARAMETERS}}


def _render_content(content: Any, place: str) -> Any:
    """Text, or a list of parts. Marks of what to cache are for others: Cohere does that by itself."""
    if not isinstance(content, list):
        return content
    return [_render_part(part, f"{place}[{index}]") for index, part in enumerate(content)]


def _render_part(part: dict[str, Any], place: str) -> dict[str, Any]:
    kind = part["type"]
    if kind in ("text", "refusal"):
        return {"type": "text", "text": part[kind]}
    if kind == "image_url":
        return {"type": kind, kind: part[kind]}
    raise unsupported(f"{place}.type", f"'{kind}'")


def _render_answer(message: Message, content: Any, place: str) -> Message:
    """An assistant's message; what was thought before its calls stands first, as it did in Cohere's own answer."""
    memo = {key: text for item in message.get("memo", {}).get("cohere", ()) for key, text in item.items()}
    if content is None:
        content = message.get("refusal")
    if memo.get("thinking"):
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
        content = [{"type": "thinking", "thinking": memo["thinking"]}, *parts]
    answer: Message = {"role": "assistant"}
    if content:
        answer["content"] = content
    calls = message.get("tool_calls")
    if calls:
        answer["tool_calls"] = [_render_call(call, f"{place}.tool_calls[{n}]") for n, call in enumerate(calls)]
        answer |= {"tool_plan": memo["tool_plan"]} if memo.get("tool_plan") else {}
    elif not content:
        answer["content"] = ""
    return answer


def _render_call(call: dict[str, Any], place: str) -> dict[str, Any]:
    if call["type"] != "function":
        raise unsupported(f"{place}.type", f"'{call['type']}'")
    function = call["function"]
    named = {"name": function["name"], "arguments": function["arguments"] or "{}"}
    return {"id": call["id"], "type": "function", "function": named}


def unsupported(param: str, value: str) -> ServiceError:
    """The error for what Cohere has not."""
    return BadRequest(
        f"Unsupported value: '{param}' does not support {value} with this model.",
        param=param,
        code="unsupported_value",
    )
