"""Chat Completions messages in Converse's words."""

import hashlib
import re
from collections.abc import Sequence
from typing import Any

import orjson

from app.errors import BadRequest
from app.messages import ALPHABET, Message

Block = dict[str, Any]

MEMO = "bedrock"
"""Where the thoughts of an assistant message are in its memo."""

FILLER = {"text": "."}
"""Stands where a turn has to be and nothing was said: models refuse blank texts."""

ALONE = ("meta", "mistral", "writer")
"""Vendors whose models want nothing beside the results of tools in a turn."""

CALL_IDS = {"anthropic": "[a-zA-Z0-9_-]{1,64}", "mistral": "[a-zA-Z0-9]{9}"}
"""The ids of calls that a vendor's models take, if not all that Bedrock takes."""

IMAGES = {f"image/{name}": name for name in ("png", "jpeg", "gif", "webp")} | {"image/jpg": "jpeg"}

DOCUMENTS = {
    "application/pdf": "pdf",
    "application/msword": "doc",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "text/csv": "csv",
    "text/html": "html",
    "text/markdown": "md",
    "text/plain": "txt",
}

_DATA_URL = re.compile("data:([^;,]+)(?:;[^;,]+)*;base64,(.*)")


def unsupported(param: str, value: str) -> BadRequest:
    """The error for a value that Bedrock has nothing for."""
    return BadRequest(
        f"Unsupported value: '{param}' does not support {value} with this model.",
        param=param,
        code="unsupported_value",
    )


class Renderer:
    """Renders the messages of one prompt.

    Args:
        model: the one that is asked; thoughts of another are not sent to it.
        vendor: who made it, as far as that matters.
        named: whether a message's `name`, for which there is no place, may be left out.
    """

    def __init__(self, model: str, vendor: str, named: bool) -> None:
        self.system: list[Block] = []
        self.turns: list[Message] = []
        self._model = model
        self._vendor = vendor
        self._named = named
        self._call_id = re.compile(CALL_IDS.get(vendor, "[a-zA-Z0-9_.:-]{1,64}"))
        self._documents = 0

    def render(self, messages: Sequence[Message]) -> None:
        """Fills `system` and `turns`: those of user and assistant alternate, the user's is the first.

        Raises:
            BadRequest: a message or a part of a kind that Converse does not have.
        """
        for index, message in enumerate(messages):
            self._render_message(message, f"messages[{index}]")
        if not self.turns or self.turns[0]["role"] == "assistant":
            self.turns.insert(0, {"role": "user", "content": [FILLER]})

    def _render_message(self, message: Message, place: str) -> None:
        role = message["role"]
        if role == "function":
            raise unsupported(f"{place}.role", "'function'")
        if message.get("name") and not self._named:
            raise unsupported(f"{place}.name", "names")
        content = self._render_content(message.get("content"), f"{place}.content")
        if role in ("system", "developer"):
            self.system += content
        elif role == "assistant":
            self._add("assistant", self._render_answer(message, content, place))
        elif role == "tool":
            self._add("user", self._render_result(message["tool_call_id"], content))
        else:
            self._add("user", content)

    def _add(self, role: str, blocks: list[Block]) -> None:
        if not blocks:
            return
        if self.turns and self.turns[-1]["role"] == role:
            last = self.turns[-1]["content"]
            if self._vendor not in ALONE or "toolResult" not in last[0] or "toolResult" in blocks[0]:
                last += blocks
                return
            self.turns.append({"role": "assistant", "content": [FILLER]})
        self.turns.append({"role": role, "content": blocks})

    def _render_result(self, id_: str, content: list[Block]) -> list[Block]:
        """A tool's result; a mark of what to cache has its place beside it, not in it."""
        marks = [block for block in content if "cachePoint" in block]
        told = [block for block in content if block not in marks] or [{"text": "(empty)"}]
        return [{"toolResult": {"toolUseId": self._render_id(id_), "content": told}}, *marks]

    def _render_answer(self, message: Message, content: list[Block], place: str) -> list[Block]:
        for key in ("audio", "function_call"):
            if message.get(key):
                raise unsupported(f"{place}.{key}", "a value")
        content += _render_text(message.get("refusal") or "")
        calls = [
            self._render_call(call, f"{place}.tool_calls[{index}]")
            for index, call in enumerate(message.get("tool_calls") or ())
        ]
        memo = message.get("memo", {}).get(MEMO, ())
        return _interleave(memo, content, calls) if {"model": self._model} in memo else content + calls

    def _render_call(self, call: dict[str, Any], place: str) -> Block:
        if call["type"] != "function":
            raise unsupported(f"{place}.type", f"'{call['type']}'")
        function = call["function"]
        arguments = _parse_arguments(function["arguments"])
        return {"toolUse": {"toolUseId": self._render_id(call["id"]), "name": function["name"], "input": arguments}}

    def _render_id(self, id_: str) -> str:
        """A call's id, or one that is always the same for it, should it not be one that the model takes."""
        if self._call_id.fullmatch(id_):
            return id_
        return "".join(ALPHABET[byte % 62] for byte in hashlib.sha256(id_.encode()).digest()[:9])

    def _render_content(self, content: Any, place: str) -> list[Block]:
        if not isinstance(content, list):
            return _render_text(content or "")
        blocks: list[Block] = []
        for index, part in enumerate(content):
            rendered = self._render_part(part, f"{place}[{index}]")
            if rendered and part.get("prompt_cache_breakpoint"):
                rendered.append({"cachePoint": {"type": "default"}})
            blocks += rendered
        if any("document" in block for block in blocks) and not any("text" in block for block in blocks):
            # A document has to have a text beside it.
            blocks.insert(0, FILLER)
        return blocks

    def _render_part(self, part: dict[str, Any], place: str) -> list[Block]:
        kind = part["type"]
        if kind in ("text", "refusal"):
            return _render_text(part[kind])
        if kind == "image_url":
            return [self._render_data(part["image_url"]["url"], IMAGES, f"{place}.image_url.url")]
        if kind == "file" and "file_data" in part["file"]:
            return [self._render_data(part["file"]["file_data"], {**IMAGES, **DOCUMENTS}, f"{place}.file.file_data")]
        raise unsupported(f"{place}.type", f"'{kind}'" if kind != "file" else "files that are kept elsewhere")

    def _render_data(self, url: str, formats: dict[str, str], place: str) -> Block:
        """An image or a document, which must be here: Bedrock fetches nothing."""
        found = _DATA_URL.fullmatch(url)
        if not found:
            raise BadRequest(
                f"Invalid '{place}': expected a base64-encoded data URL.", param=place, code="invalid_value"
            )
        if found[1] not in formats:
            raise unsupported(place, f"'{found[1]}'")
        content = {"format": formats[found[1]], "source": {"bytes": found[2]}}
        if found[1] in IMAGES:
            return {"image": content}
        # A name of somebody's making could be taken for instructions, says Amazon; two must not be the same.
        self._documents += 1
        return {"document": {"name": f"Document {self._documents}", **content}}


def _interleave(memo: Sequence[Block], content: list[Block], calls: list[Block]) -> list[Block]:
    """Thoughts, text and calls in the order in which they came: Claude refuses thoughts that were moved."""
    text = "".join(block.get("text", "") for block in content)
    blocks: list[Block] = []
    for item in memo:
        if "text" in item:
            blocks += _render_text(text[: item["text"]])
            text = text[item["text"] :]
        elif "toolUse" in item:
            blocks += calls[:1]
            calls = calls[1:]
        elif "reasoningContent" in item:
            blocks.append(item)
    return blocks + _render_text(text) + calls


def _render_text(text: str) -> list[Block]:
    return [{"text": text}] if text.strip() else []


def _parse_arguments(text: str) -> dict[str, Any]:
    """The arguments as an object; those that a model left broken are put into one, for Bedrock takes nothing else."""
    try:
        arguments = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        arguments = None
    return arguments if isinstance(arguments, dict) else {"arguments": text}
