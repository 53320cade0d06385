"""Anthropic's answers, streamed and whole, as deltas."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from app.errors import UpstreamFailed
from app.messages import Delta, ToolCall, Usage
from connectors._anthropic_message import MEMO, Block
from connectors._anthropic_tool import ANSWER

FINISH_REASONS = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}
"""Every other end is plain, or is for the calls that were made."""


class Order:
    """What came between the thoughts of a message, so that they can go back to where they were."""

    def __init__(self) -> None:
        self._marks: list[Block] = []

    def add_text(self, size: int) -> None:
        """Some of the message's text has passed."""
        if self._marks and self._marks[-1]["type"] == "text":
            self._marks[-1]["size"] += size
        else:
            self._marks.append({"type": "text", "size": size})

    def add_call(self) -> None:
        """A tool call has passed."""
        self._marks.append({"type": "tool_use"})

    def keep(self, thought: Block) -> list[Block]:
        """What is to be kept of `thought`; nothing of one without signature, for nobody would take it back."""
        if not thought.get("signature") and thought["type"] == "thinking":
            return []
        marks, self._marks = self._marks, []
        return [*marks, thought]


@dataclass(slots=True)
class _Open:
    """A block that is being streamed: how it began, and what came of its input or thought."""

    block: Block
    pieces: list[str] = field(default_factory=list)
    signature: list[str] = field(default_factory=list)


class StreamedMessage:
    """A message as far as its events have come."""

    def __init__(self) -> None:
        self._order = Order()
        self._open: dict[int, _Open] = {}
        self._usage: dict[str, Any] = {}
        self._end: dict[str, Any] = {}
        self._begun = False
        self._called = False
        self._events: dict[str, Callable[[dict[str, Any]], Delta | None]] = {
            "message_start": self._start,
            "content_block_start": self._start_block,
            "content_block_delta": self._add_to_block,
            "content_block_stop": self._stop_block,
            "message_delta": self._note,
        }

    def add(self, kind: str | None, data: dict[str, Any]) -> Delta | None:
        """What the event `data` of this kind gives to pass on; nothing, if the kind is not known."""
        take = self._events.get(kind or "")
        return take(data) if take else None

    def end(self) -> Delta:
        """The last delta: why the message ended, if that was said, and what it cost."""
        return _parse_end(self._end, self._usage, self._called)

    def _start(self, data: dict[str, Any]) -> None:
        if self._begun:
            # Somebody on the way has begun again, but what was passed on cannot be taken back.
            raise UpstreamFailed()
        self._usage = data["message"].get("usage") or {}

    def _start_block(self, data: dict[str, Any]) -> Delta | None:
        block, index = data["content_block"], data["index"]
        self._begun = True
        self._open[index] = _Open(block)
        kind = block["type"]
        if kind == "text":
            return self._give_text(block["text"]) if block["text"] else None
        if kind != "tool_use" or block["name"] == ANSWER:
            return None
        self._called = True
        self._order.add_call()
        return Delta(tool_calls=(ToolCall(index, _text(block["id"]), _text(block["name"])),))

    def _add_to_block(self, data: dict[str, Any]) -> Delta | None:
        piece = data["delta"]
        kind = piece["type"]
        if kind == "text_delta":
            return self._give_text(piece["text"])
        index = data["index"]
        open_ = self._open[index]
        if kind == "input_json_delta" and open_.block["type"] == "tool_use" and piece["partial_json"]:
            open_.pieces.append(piece["partial_json"])
            return self._give_input(index, open_.block, piece["partial_json"])
        if kind == "thinking_delta":
            open_.pieces.append(_text(piece["thinking"]))
            return Delta(reasoning=piece["thinking"])
        if kind == "signature_delta":
            open_.signature.append(_text(piece["signature"]))
        return None

    def _stop_block(self, data: dict[str, Any]) -> Delta | None:
        index = data["index"]
        open_ = self._open.pop(index)
        block = open_.block
        if block["type"] == "tool_use" and not open_.pieces:
            return self._give_input(index, block, orjson.dumps(block["input"]).decode())
        if block["type"] == "thinking":
            thinking, signature = "".join(open_.pieces), "".join(open_.signature)
            block = {"type": "thinking", "thinking": thinking, "signature": signature}
        elif block["type"] != "redacted_thinking":
            return None
        kept = self._order.keep(block)
        return Delta(memo={MEMO: kept}) if kept else None

    def _note(self, data: dict[str, Any]) -> None:
        # Counts are of the whole message, but not all of them are told again.
        self._usage |= data.get("usage") or {}
        self._end |= data["delta"]

    def _give_text(self, text: str) -> Delta:
        self._order.add_text(len(_text(text)))
        return Delta(text)

    def _give_input(self, index: int, block: Block, text: str) -> Delta:
        if block["name"] == ANSWER:
            return self._give_text(text)
        return Delta(tool_calls=(ToolCall(index, arguments=_text(text)),))


def parse_message(answer: dict[str, Any]) -> Delta:
    """A whole message."""
    order = Order()
    text: list[str] = []
    thoughts: list[str] = []
    calls: list[ToolCall] = []
    memo: list[Block] = []
    for block in answer["content"]:
        kind = block["type"]
        if kind == "text" or (kind == "tool_use" and block["name"] == ANSWER):
            text.append(_text(block["text"]) if kind == "text" else orjson.dumps(block["input"]).decode())
            order.add_text(len(text[-1]))
        elif kind == "tool_use":
            arguments = orjson.dumps(block["input"]).decode()
            calls.append(ToolCall(len(calls), _text(block["id"]), _text(block["name"]), arguments))
            order.add_call()
        elif kind in ("thinking", "redacted_thinking"):
            thoughts.append(_text(block.get("thinking", "")))
            memo += order.keep(block)
    end = _parse_end(answer, answer.get("usage") or {}, bool(calls))
    return end._replace(
        text="".join(text),
        reasoning="".join(thoughts),
        tool_calls=tuple(calls),
        memo={MEMO: memo} if memo else None,
    )


def _parse_end(end: dict[str, Any], usage: dict[str, Any], called: bool) -> Delta:
    reason = end.get("stop_reason")
    finish = reason and FINISH_REASONS.get(reason, "tool_calls" if called else "stop")
    details = end.get("stop_details") or {}
    return Delta(
        refusal=_text(details.get("explanation") or "") if finish == "content_filter" else "",
        finish=finish,
        usage=_parse_usage(usage) if usage else None,
    )


def _parse_usage(usage: dict[str, Any]) -> Usage:
    cached = usage.get("cache_read_input_tokens") or 0
    written = usage.get("cache_creation_input_tokens") or 0
    return Usage(
        input_tokens=(usage.get("input_tokens") or 0) + cached + written,
        output_tokens=usage.get("output_tokens") or 0,
        cached_tokens=cached,
        cache_write_tokens=written,
        reasoning_tokens=(usage.get("output_tokens_details") or {}).get("thinking_tokens") or 0,
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a provider's text is not a string")
    return value
