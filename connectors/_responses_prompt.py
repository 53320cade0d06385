"""Messages, tools and parameters as OpenAI's Responses API wants them."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.errors import BadRequest
from app.messages import Message, ToolSpec

SAME = frozenset(
    {
        "temperature",
        "top_p",
        "top_logprobs",
        "parallel_tool_calls",
        "service_tier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "prompt_cache_options",
    }
)
"""Parameters that both formats call the same."""

OTHER = frozenset(
    {
        "tools",
        "tool_choice",
        "max_tokens",
        "max_completion_tokens",
        "logprobs",
        "response_format",
        "reasoning_effort",
        "verbosity",
    }
)
"""Parameters that go by another name or shape."""

MAX_ID = 64
"""Characters that a call's id may have."""

PARTS = {"text": "input_text", "image_url": "input_image", "file": "input_file"}
"""What a user's parts are called there."""

SAID = {"text": "output_text", "refusal": "refusal"}
"""What an assistant's parts are called there."""


def render_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that say what `params` say, but for what is included."""
    format_ = params.get("response_format")
    text = {
        "format": format_ and {**format_.get("json_schema", {}), "type": format_["type"]},
        "verbosity": params.get("verbosity"),
    }
    given = {
        "max_output_tokens": params.get("max_completion_tokens") or params.get("max_tokens"),
        "reasoning": _present(effort=params.get("reasoning_effort")),
        "text": _present(**text),
        "tool_choice": _render_choice(params.get("tool_choice")),
    }
    return {name: value for name, value in params.items() if name in SAME} | _present(**given)


def render_tool(tool: ToolSpec) -> dict[str, Any]:
    """A tool; one is strict there unless it says that it is not."""
    function = tool["function"]
    parameters = function.get("parameters") or {"type": "object", "properties": {}}
    return {"type": "function", **function, "parameters": parameters, "strict": bool(function.get("strict"))}


def render_messages(messages: Sequence[Message], named: bool) -> Iterator[dict[str, Any]]:
    """The items that say what `messages` say.

    Args:
        messages: an assistant's reasoning is in its `memo`, as `parse_memo` made it.
        named: whether names of participants may be left out.

    Raises:
        BadRequest: something in a message has no place there.
    """
    for index, message in enumerate(messages):
        where, role = f"messages[{index}]", message["role"]
        if "name" in message and not named:
            raise _unsupported(f"{where}.name", "a value")
        if role == "assistant":
            yield from _render_assistant(where, message)
        elif role == "tool":
            output = _render_content(where, message["content"], PARTS)
            yield {"type": "function_call_output", "call_id": _fit_id(message["tool_call_id"]), "output": output}
        elif role == "function":
            raise _unsupported(f"{where}.role", "'function'")
        else:
            yield {"role": role, "content": _render_content(where, message["content"], PARTS)}


def _render_assistant(where: str, message: Message) -> Iterator[dict[str, Any]]:
    """What was said, then the calls, each behind the reasoning that led to it."""
    memo = message.get("memo", {}).get("responses", ())
    calls = message.get("tool_calls") or ()
    yield from _recall(memo, "")
    content = _render_said(where, message)
    if content or not calls:
        phase = next((entry["phase"] for entry in memo if "phase" in entry and calls), None)
        yield {"role": "assistant", "content": content, **_present(phase=phase)}
    for index, call in enumerate(calls):
        if "function" not in call:
            raise _unsupported(f"{where}.tool_calls[{index}].type", f"'{call['type']}'")
        yield from _recall(memo, call["id"])
        yield {
            "type": "function_call",
            "call_id": _fit_id(call["id"]),
            "name": call["function"]["name"],
            "arguments": call["function"]["arguments"] or "{}",
        }


def _render_said(where: str, message: Message) -> Any:
    """The content of an assistant's message, its refusal included."""
    for name in ("function_call", "audio"):
        if name in message:
            raise _unsupported(f"{where}.{name}", "a value")
    content = message.get("content") or ""
    if "refusal" in message:
        refusal = {"type": "refusal", "refusal": message["refusal"]}
        content = [{"type": "text", "text": content}] * bool(content) if isinstance(content, str) else content
        content = [*content, refusal]
    return _render_content(where, content, SAID)


def _recall(memo: Sequence[Any], before: str) -> list[Any]:
    return [entry["item"] for entry in memo if entry.get("before") == before]


def _render_content(where: str, content: Any, names: Mapping[str, str]) -> Any:
    if isinstance(content, str):
        return content
    parts = []
    for index, part in enumerate(content):
        kind = part["type"]
        if kind not in names:
            raise _unsupported(f"{where}.content[{index}].type", f"'{kind}'")
        # A text or a refusal is its part's own field; what an image or a file is stands one level lower.
        fields = {key: value for key, value in part.items() if key not in ("type", "image_url", "file")}
        if kind == "image_url":
            fields |= {"image_url": part["image_url"]["url"], **_present(detail=part["image_url"].get("detail"))}
        parts.append({"type": names[kind], **fields, **part.get("file", {})})
    return parts


def _render_choice(choice: Any) -> Any:
    if not isinstance(choice, dict):
        return choice
    if choice["type"] == "function":
        return {"type": "function", "name": choice["function"]["name"]}
    allowed = choice["allowed_tools"]
    tools = [{"type": "function", "name": tool["function"]["name"]} for tool in allowed["tools"]]
    return {"type": "allowed_tools", "mode": allowed["mode"], "tools": tools}


def _fit_id(id_: str) -> str:
    """`id_`, or what always stands for it if another provider made it too long."""
    return id_ if len(id_) <= MAX_ID else "call_" + hashlib.sha256(id_.encode()).hexdigest()[:24]


def _present(**given: Any) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value}


def _unsupported(where: str, what: str) -> BadRequest:
    return BadRequest(
        f"Unsupported value: '{where}' does not support {what} with this model.", param=where, code="unsupported_value"
    )
