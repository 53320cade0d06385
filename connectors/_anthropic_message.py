"""Chat Completions messages in Anthropic's words."""

import hashlib
import re
from base64 import b64decode
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from app.errors import BadRequest
from app.messages import Message

Block = dict[str, Any]

MEMO = "anthropic"
"""Where the thoughts of an assistant message are in its memo."""

BEGINNING = "(The conversation begins.)"
"""Stands for the user's turn where an assistant speaks first: Anthropic wants the user to."""

_SYSTEM = ("system", "developer")
_CALL_ID = re.compile("[a-zA-Z0-9_-]+")
_DATA_URL = re.compile("data:([^;,]+)(?:;[^;,]+)*;base64,(.*)")


def unsupported(param: str, value: str) -> BadRequest:
    """The error for a value that Anthropic has nothing for."""
    return BadRequest(
        f"Unsupported value: '{param}' does not support {value} with this model.",
        param=param,
        code="unsupported_value",
    )


def render_messages(messages: Sequence[Message]) -> tuple[list[Block], list[Message]]:
    """The blocks of the system prompt, and the turns: runs of what is not the assistant's are one user message.

    Only what stands first is the system prompt; later system messages have their place in the user's turns. Texts of
    nothing but blanks are left out, for Anthropic refuses them. A message's `name` has no place there.

    Raises:
        BadRequest: a content part or a message of a kind that Anthropic does not have.
    """
    first = next((index for index, each in enumerate(messages) if each["role"] not in _SYSTEM), 0)
    system: list[Block] = []
    turns: list[Message] = []
    for index, message in enumerate(messages):
        place = f"messages[{index}]"
        if index < first:
            system += _render_content(message.get("content"), place)
            continue
        role = "assistant" if message["role"] == "assistant" else "user"
        blocks = _RENDERERS[message["role"]](message, place)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": role, "content": blocks})
    if turns and turns[0]["role"] == "assistant":
        turns.insert(0, {"role": "user", "content": [{"type": "text", "text": BEGINNING}]})
    return system, turns


def _render_user(message: Message, place: str) -> list[Block]:
    return _render_content(message.get("content"), place)


def _render_result(message: Message, place: str) -> list[Block]:
    content = _render_content(message.get("content"), place)
    result = {"type": "tool_result", "tool_use_id": _render_id(message["tool_call_id"])}
    return [{**result, "content": content} if content else result]


def _render_assistant(message: Message, place: str) -> list[Block]:
    for key in ("audio", "function_call"):
        if message.get(key):
            raise unsupported(f"{place}.{key}", "a value")
    texts = _render_content(message.get("content"), place) + _render_text(message.get("refusal") or "")
    calls = [
        _render_call(call, f"{place}.tool_calls[{index}]") for index, call in enumerate(message.get("tool_calls") or ())
    ]
    memo = message.get("memo", {}).get(MEMO)
    return _interleave(memo, "".join(block["text"] for block in texts), calls) if memo else texts + calls


def _refuse(message: Message, place: str) -> list[Block]:
    raise unsupported(f"{place}.role", f"'{message['role']}'")


_RENDERERS: dict[str, Callable[[Message, str], list[Block]]] = {
    "system": _render_user,
    "developer": _render_user,
    "user": _render_user,
    "assistant": _render_assistant,
    "tool": _render_result,
    "function": _refuse,
}


def _interleave(memo: Sequence[Block], text: str, calls: list[Block]) -> list[Block]:
    """Thoughts, text and calls in the order in which they came: Anthropic refuses thoughts that were moved."""
    blocks: list[Block] = []
    for item in memo:
        if item["type"] == "text":
            blocks += _render_text(text[: item["size"]])
            text = text[item["size"] :]
        elif item["type"] == "tool_use":
            blocks += calls[:1]
            calls = calls[1:]
        else:
            blocks.append(item)
    return blocks + _render_text(text) + calls


def _render_call(call: dict[str, Any], place: str) -> Block:
    if call["type"] != "function":
        raise unsupported(f"{place}.type", f"'{call['type']}'")
    function = call["function"]
    arguments = _parse_arguments(function["arguments"])
    return {"type": "tool_use", "id": _render_id(call["id"]), "name": function["name"], "input": arguments}


def _parse_arguments(text: str) -> dict[str, Any]:
    """The arguments as an object; those that a model left broken are put into one, for Anthropic takes nothing else."""
    try:
        arguments = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        arguments = None
    return arguments if isinstance(arguments, dict) else {"arguments": text}


def _render_id(id_: str) -> str:
    """A call's id, or one that is always the same for it, should it have letters that Anthropic refuses."""
    return id_ if _CALL_ID.fullmatch(id_) else f"toolu_{hashlib.sha256(id_.encode()).hexdigest()[:24]}"


def _render_content(content: Any, place: str) -> list[Block]:
    if not isinstance(content, list):
        return _render_text(content or "")
    blocks: list[Block] = []
    for index, part in enumerate(content):
        rendered = _render_part(part, f"{place}.content[{index}]")
        if rendered and part.get("prompt_cache_breakpoint"):
            rendered[-1]["cache_control"] = {"type": "ephemeral"}
        blocks += rendered
    return blocks


def _render_part(part: dict[str, Any], place: str) -> list[Block]:
    kind = part["type"]
    if kind in ("text", "refusal"):
        return _render_text(part[kind])
    if kind == "image_url":
        return [{"type": "image", "source": _render_image(part["image_url"]["url"], f"{place}.image_url.url")}]
    if kind == "file":
        return [_render_file(part["file"], f"{place}.file")]
    raise unsupported(f"{place}.type", f"'{kind}'")


def _render_text(text: str) -> list[Block]:
    return [{"type": "text", "text": text}] if text.strip() else []


def _render_image(url: str, place: str) -> Block:
    if url.startswith(("https://", "http://")):
        return {"type": "url", "url": url}
    media_type, data = _split_data_url(url, place)
    # Anthropic takes no other spelling, clients use both.
    return {"type": "base64", "media_type": media_type.replace("image/jpg", "image/jpeg"), "data": data}


def _render_file(file: dict[str, Any], place: str) -> Block:
    if "file_data" not in file:
        raise unsupported(f"{place}.file_id", "files that are kept elsewhere")
    media_type, data = _split_data_url(file["file_data"], f"{place}.file_data")
    source = {"type": "base64", "media_type": media_type, "data": data}
    if media_type.startswith("image/"):
        return {"type": "image", "source": source}
    if media_type.startswith("text/"):
        source = {"type": "text", "media_type": "text/plain", "data": _decode(data, f"{place}.file_data")}
    elif media_type != "application/pdf":
        raise unsupported(f"{place}.file_data", f"'{media_type}'")
    title = {"title": file["filename"]} if file.get("filename") else {}
    return {"type": "document", "source": source, **title}


def _split_data_url(url: str, place: str) -> tuple[str, str]:
    found = _DATA_URL.fullmatch(url)
    if not found:
        raise BadRequest(f"Invalid '{place}': expected a base64-encoded data URL.", param=place, code="invalid_value")
    return found[1], found[2]


def _decode(data: str, place: str) -> str:
    try:
        return b64decode(data, validate=True).decode()
    except ValueError as error:
        raise BadRequest(
            f"Invalid '{place}': expected base64-encoded UTF-8.", param=place, code="invalid_value"
        ) from error
