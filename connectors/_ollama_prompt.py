"""Messages, tools and formats as Ollama wants them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from app.errors import BadRequest
from app.messages import Message, Prompt, ToolSpec

RUNTIME = {
    "temperature": "temperature",
    "top_p": "top_p",
    "seed": "seed",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "max_tokens": "num_predict",
    "max_completion_tokens": "num_predict",
}
"""Parameters that are Ollama's `options`, and their names there; of two the last counts."""

OTHER = frozenset(
    {
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "stop",
        "response_format",
        "reasoning_effort",
        "logprobs",
        "top_logprobs",
    }
)
"""Parameters that stand elsewhere, or that have a value which is what Ollama does anyway."""

IMAGE = re.compile(r"data:image/[^;,]+;base64,", re.IGNORECASE)


def render_messages(messages: Sequence[Message], named: bool) -> Iterator[dict[str, Any]]:
    """The messages; results follow their calls in the calls' order, as most templates know no ids.

    Args:
        messages: what an assistant thought before its calls is in its `memo`.
        named: whether names of participants may be left out.

    Raises:
        BadRequest: something in a message has no place there.
    """
    names = dict[str, str]()
    for index, message in _sort_results(messages):
        where, role = f"messages[{index}]", message["role"]
        _check(where, message, named)
        rendered = {"role": "system" if role == "developer" else role, **_render_content(where, message)}
        if role == "tool":
            id_ = message["tool_call_id"]
            rendered |= {"tool_name": names.get(id_, ""), "tool_call_id": id_}
        thoughts = message.get("memo", {}).get("ollama")
        if thoughts:
            rendered["thinking"] = "".join(thoughts)
        calls = [_render_call(f"{where}.tool_calls[{number}]", call) for number, call in enumerate(_calls(message))]
        if calls:
            names |= {call["id"]: call["function"]["name"] for call in calls}
            rendered["tool_calls"] = calls
        yield rendered


def _check(where: str, message: Message, named: bool) -> None:
    """Refuses what has no place in a message."""
    for name in ("function_call", "audio", *(() if named else ("name",))):
        if name in message:
            raise _unsupported(f"{where}.{name}", "a value")
    if message["role"] == "function":
        raise _unsupported(f"{where}.role", "'function'")


def _sort_results(messages: Sequence[Message]) -> list[tuple[int, Message]]:
    """The messages and their places, results in the order of their calls."""
    keyed = list[tuple[tuple[int, int], int, Message]]()
    turn, order = 0, dict[str, int]()
    for index, message in enumerate(messages):
        if message["role"] == "tool":
            keyed.append(((turn, order.get(message["tool_call_id"], len(order))), index, message))
        else:
            turn, order = index, {call["id"]: number for number, call in enumerate(_calls(message))}
            keyed.append(((turn, -1), index, message))
    return [(index, message) for _, index, message in sorted(keyed, key=lambda each: each[0])]


def _calls(message: Message) -> Sequence[dict[str, Any]]:
    calls: Sequence[dict[str, Any]] = message.get("tool_calls") or ()
    return calls


def _render_content(where: str, message: Message) -> dict[str, Any]:
    """The text, of parts joined by line ends, and the images, which must be in the request itself."""
    content = message.get("content") or ""
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    texts, images = [], []
    for index, part in enumerate(parts):
        place = f"{where}.content[{index}]"
        if part["type"] in ("text", "refusal"):
            texts.append(part[part["type"]])
        elif part["type"] == "image_url":
            url = part["image_url"]["url"]
            data = IMAGE.match(url)
            if data is None:
                raise _unsupported(f"{place}.image_url.url", "addresses of images, only data:image/...;base64,...")
            images.append(url[data.end() :])
        else:
            raise _unsupported(f"{place}.type", f"'{part['type']}'")
    if message.get("refusal"):
        texts.append(message["refusal"])
    return {"content": "\n".join(filter(None, texts)), **({"images": images} if images else {})}


def _render_call(where: str, call: Mapping[str, Any]) -> dict[str, Any]:
    if "function" not in call:
        raise _unsupported(f"{where}.type", f"'{call['type']}'")
    function = call["function"]
    try:
        arguments = orjson.loads(function["arguments"] or "{}")
    except orjson.JSONDecodeError:
        arguments = None
    if not isinstance(arguments, dict):
        raise _unsupported(f"{where}.function.arguments", "anything but a JSON object")
    return {"id": call["id"], "type": "function", "function": {"name": function["name"], "arguments": arguments}}


def render_tools(prompt: Prompt) -> Sequence[ToolSpec]:
    """The tools that may be called: Ollama has nothing that makes a model call one."""
    choice = prompt.params.get("tool_choice", "auto")
    if prompt.params.get("parallel_tool_calls") is False:
        raise _unsupported("parallel_tool_calls", "false")
    if choice == "auto":
        return prompt.tools
    if choice == "none":
        return ()
    allowed = choice.get("allowed_tools") if isinstance(choice, dict) else None
    if allowed is None or allowed["mode"] != "auto":
        raise _unsupported("tool_choice", "anything that requires a call")
    names = {tool["function"]["name"] for tool in allowed["tools"]}
    return [tool for tool in prompt.tools if tool["function"]["name"] in names]


def render_format(chosen: Mapping[str, Any] | None) -> Any:
    if chosen is None or chosen["type"] == "text":
        return None
    return chosen.get("json_schema", {}).get("schema") or "json"


def _unsupported(where: str, what: str) -> BadRequest:
    return BadRequest(
        f"Unsupported value: '{where}' does not support {what} with this model.", param=where, code="unsupported_value"
    )
