"""Converse's answers, streamed or whole."""

from collections.abc import Iterator
from typing import Any

import orjson

from app.errors import UpstreamFailed
from app.messages import Delta, ToolCall, Usage
from connectors._bedrock_message import MEMO, Block
from connectors._bedrock_tool import ANSWER

FINISH_REASONS = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}
"""OpenAI's; whatever else stops a model is a plain end, or calls if there are some."""


class Answer:
    """An answer as far as it has come: its end and its count, what was thought in it, in what order.

    Args:
        model: the one that answers, to which alone its thoughts are of use.
    """

    def __init__(self, model: str) -> None:
        self.end: Delta | None = None
        self.usage: Usage | None = None
        self.counted = False
        self._order: list[Block] = [{"model": model}]
        self._thoughts: dict[int, dict[str, list[str]]] = {}
        self._empty: set[int] = set()
        self._answers: set[int] = set()
        self._called = False

    def read_event(self, name: str, data: dict[str, Any]) -> Delta | None:
        """The delta in an event of a stream; None if there is nothing in it for a client."""
        if name == "contentBlockDelta":
            return self._read_piece(data["contentBlockIndex"], data["delta"])
        if name == "contentBlockStart" and "toolUse" in data.get("start", {}):
            return self._read_call(data["contentBlockIndex"], data["start"]["toolUse"])
        if name == "contentBlockStop" and data["contentBlockIndex"] in self._empty:
            return self._read_arguments(data["contentBlockIndex"], "{}")
        if name == "messageStop":
            self.end = self.finish(data["stopReason"])
        if name == "metadata":
            self.usage, self.counted = parse_usage(data.get("usage")), True
        return None

    def read_blocks(self, blocks: list[Block]) -> Iterator[Delta]:
        """The deltas in the content of a whole answer."""
        for index, block in enumerate(blocks):
            if "toolUse" in block:
                yield self._read_call(index, block["toolUse"])
                yield self._read_arguments(index, orjson.dumps(block["toolUse"]["input"]).decode()) or Delta()
            else:
                yield self._read_piece(index, block) or Delta()

    def finish(self, reason: str) -> Delta:
        """The last delta. Raises `UpstreamFailed` if the model made no sense."""
        if reason.startswith("malformed_"):
            raise UpstreamFailed()
        memo = list(self._render_memo()) if self._called else []
        thought = any("reasoningContent" in item for item in memo)
        finish = FINISH_REASONS.get(reason) or ("tool_calls" if self._called else "stop")
        return Delta(finish=finish, memo={MEMO: memo} if thought else None)

    def _read_piece(self, index: int, piece: Block) -> Delta | None:
        if "text" in piece:
            return self._read_text(piece["text"])
        if "toolUse" in piece:
            return self._read_arguments(index, _text(piece["toolUse"].get("input")))
        if "reasoningContent" in piece:
            return self._read_thought(index, piece["reasoningContent"])
        if "citationsContent" in piece:
            return self._read_text("".join(part["text"] for part in piece["citationsContent"]["content"]))
        return None

    def _read_text(self, text: str) -> Delta | None:
        if "text" not in self._order[-1]:
            self._order.append({"text": 0})
        self._order[-1]["text"] += len(_text(text))
        return Delta(text) if text else None

    def _read_call(self, index: int, call: Block) -> Delta:
        self._empty.add(index)
        if call["name"] == ANSWER:
            self._answers.add(index)
            return Delta()
        self._called = True
        self._order.append({"toolUse": True})
        return Delta(tool_calls=(ToolCall(index, _text(call["toolUseId"]), _text(call["name"])),))

    def _read_arguments(self, index: int, text: str) -> Delta | None:
        if not text:
            return None
        self._empty.discard(index)
        return Delta(text) if index in self._answers else Delta(tool_calls=(ToolCall(index, arguments=text),))

    def _read_thought(self, index: int, piece: Block) -> Delta | None:
        if "redactedContent" in piece:
            self._order.append({"reasoningContent": piece})
            return None
        if index not in self._thoughts:
            self._thoughts[index] = {"text": [], "signature": []}
            self._order.append({"thought": index})
        said = piece.get("reasoningText", piece)
        for key, pieces in self._thoughts[index].items():
            pieces.append(_text(said.get(key)))
        return Delta(reasoning=said["text"]) if said.get("text") else None

    def _render_memo(self) -> Iterator[Block]:
        """The answer's parts in their order; of its thoughts those that are signed: no others may come back."""
        for item in self._order:
            thought = {key: "".join(pieces) for key, pieces in self._thoughts.get(item.get("thought", -1), {}).items()}
            if not thought:
                yield item
            elif thought["signature"]:
                yield {"reasoningContent": {"reasoningText": thought}}


def parse_answer(answer: dict[str, Any], model: str) -> Delta:
    """A whole answer."""
    reader = Answer(model)
    deltas = list(reader.read_blocks(answer["output"]["message"]["content"]))
    return reader.finish(answer["stopReason"])._replace(
        text="".join(delta.text for delta in deltas),
        reasoning="".join(delta.reasoning for delta in deltas),
        tool_calls=tuple(_join([call for delta in deltas for call in delta.tool_calls])),
        usage=parse_usage(answer.get("usage")),
    )


def parse_usage(usage: dict[str, Any] | None) -> Usage | None:
    """Bedrock counts what was cached apart from the rest of the input."""
    if not usage:
        return None
    cached, written = usage.get("cacheReadInputTokens") or 0, usage.get("cacheWriteInputTokens") or 0
    return Usage(
        input_tokens=(usage.get("inputTokens") or 0) + cached + written,
        output_tokens=usage.get("outputTokens") or 0,
        cached_tokens=cached,
        cache_write_tokens=written,
    )


def _join(calls: list[ToolCall]) -> Iterator[ToolCall]:
    """Calls of which each came as its beginning and its arguments."""
    for call, rest in zip(calls[::2], calls[1::2], strict=True):
        yield ToolCall(call.index, call.id, call.name, rest.arguments)


def _text(value: Any) -> str:
    if not isinstance(value, str | None):
        raise TypeError("a provider's text is not a string")
    return value or ""
