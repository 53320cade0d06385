"""A reply as OpenAI sends it: one chat completion, or its chunks."""

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import orjson

from app.messages import Delta, Reply, ToolCall, Usage, new_id
from app.runner import interleave
from app.scope import Scope
from app.sse import Frame

FINISH_REASONS = {"stop", "length", "tool_calls", "content_filter"}

DONE = b"data: [DONE]\n\n"
OPENING = {"role": "assistant", "content": "", "refusal": None}
"""The first delta of a reply that does not begin with a tool call."""

BLOCK = 16
"""Bytes to whose next multiple a chunk is filled up, so that its size does not give its text away."""

PADDING = new_id("", 1024 + BLOCK).encode()
"""Random letters that chunks are filled up with, from anywhere in it."""


@dataclass(frozen=True)
class Head:
    """What all chunks of an answer, or the answer itself, begin with."""

    model: str
    service_tier: str
    id: str
    created: int

    def render(self, kind: str) -> dict[str, Any]:
        """The head of an object of this kind."""
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "service_tier": self.service_tier,
        }


def render_completion(head: Head, replies: Sequence[Reply], usage: Usage | None) -> dict[str, Any]:
    """A `chat.completion` of replies that have been read."""
    completion = head.render("chat.completion")
    completion["choices"] = [
        {
            "index": index,
            "message": render_message(reply),
            "logprobs": reply.logprobs,
            "finish_reason": render_finish(reply),
        }
        for index, reply in enumerate(replies)
    ]
    if usage is not None:
        completion["usage"] = render_usage(usage)
    return completion


def render_message(reply: Reply) -> dict[str, Any]:
    """The reply as OpenAI's message object, without what is for connectors only."""
    message = {**reply.message, "refusal": reply.refusal or None, "annotations": []}
    message.pop("memo", None)
    return message


class ChunkWriter:
    """Renders `chat.completion.chunk` events; what all of them begin with is rendered once.

    Args:
        head: the answer's.
        options: the request's `stream_options`: with `include_usage` a last chunk has the tokens of all calls;
            every chunk carries a random string that hides its length, unless `include_obfuscation` is false.
    """

    def __init__(self, head: Head, options: Mapping[str, Any]) -> None:
        self.counts = bool(options.get("include_usage"))
        self._chunk = head.render("chat.completion.chunk")
        self._hides = options.get("include_obfuscation", True)
        self._start = self._render_start(None)

    def render(self, index: int, delta: dict[str, Any], more: bool = True, **rest: Any) -> Frame:
        """A chunk of choice `index`; `rest` is what the choice has besides."""
        choices = orjson.dumps([{"index": index, "delta": delta, "finish_reason": None, **rest}])
        return self._frame(self._start, choices, more)

    def render_text(self, index: int, text: str, more: bool) -> Frame:
        """A chunk of choice `index` that is text and nothing else: what `render` makes of it, sooner."""
        choices = b'[{"index":%d,"delta":{"content":%b},"finish_reason":null}]' % (index, orjson.dumps(text))
        return self._frame(self._start, choices, more)

    def render_usage(self, usage: Usage | None) -> Frame:
        """The chunk without choices that tells the tokens."""
        return self._frame(self._render_start(usage), b"[]", True)

    def _render_start(self, usage: Usage | None) -> bytes:
        counted = {"usage": render_usage(usage) if usage else None} if self.counts else {}
        return orjson.dumps({**self._chunk, **counted})[:-1]

    def _frame(self, start: bytes, choices: bytes, more: bool) -> Frame:
        padding = b""
        if self._hides:
            # Up to the next multiple of a block, with letters from a random place.
            first = random.getrandbits(10)
            letters = PADDING[first : first + BLOCK - len(choices) % BLOCK]
            padding = b',"obfuscation":"%b"' % letters
        return Frame(b'data: %b,"choices":%b%b}\n\n' % (start, choices, padding), more)


def render_chunks(head: Head, replies: Sequence[Reply], scope: Scope, options: Mapping[str, Any]) -> Iterator[Frame]:
    """The events of a streamed answer, `[DONE]` included; `options` as for `ChunkWriter`."""
    writer = ChunkWriter(head, options)
    opened = set[int]()
    with closing(interleave(replies, scope)) as deltas:
        for index, delta in deltas:
            if delta.text and index in opened and not (delta.refusal or delta.tool_calls or delta.logprobs):
                # Nearly all that is ever streamed.
                yield writer.render_text(index, delta.text, delta.more)
            else:
                yield from _render_frames(writer, index, delta, index in opened)
                opened.add(index)
    for index, reply in enumerate(replies):
        if index not in opened:
            yield writer.render(index, OPENING)
        yield writer.render(index, {}, finish_reason=render_finish(reply))
    if writer.counts:
        yield writer.render_usage(scope.usage)
    yield Frame(DONE)


def _render_frames(writer: ChunkWriter, index: int, delta: Delta, opened: bool) -> Iterator[Frame]:
    pieces = _render_delta(delta, opened)
    for piece in pieces:
        last = piece is pieces[-1]
        rest = {"logprobs": delta.logprobs} if last and delta.logprobs else {}
        yield writer.render(index, piece, delta.more or not last, **rest)


def render_finish(reply: Reply) -> str:
    """Why a reply ended; one with tool calls ended for them, whatever word its provider has for it."""
    finish = reply.finish if reply.finish in FINISH_REASONS else "stop"
    return "tool_calls" if finish == "stop" and reply.tool_calls else str(finish)


def render_usage(usage: Usage) -> dict[str, Any]:
    """OpenAI's `usage` object."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
            "audio_tokens": usage.input_audio_tokens,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": usage.output_audio_tokens,
            "accepted_prediction_tokens": usage.accepted_prediction_tokens,
            "rejected_prediction_tokens": usage.rejected_prediction_tokens,
        },
    }


def _render_delta(delta: Delta, opened: bool) -> list[dict[str, Any]]:
    """The `delta` objects of a delta: one for its text, one for each tool call, as OpenAI sends them."""
    pieces: list[dict[str, Any]] = []
    if delta.refusal:
        pieces.append({"refusal": delta.refusal})
    # Log probabilities may come without text, where a character takes several tokens.
    if delta.text or (delta.logprobs and not (delta.refusal or delta.tool_calls)):
        pieces.append({"content": delta.text})
    for call in delta.tool_calls:
        pieces.append({"tool_calls": [_render_call(call)]})
    if opened:
        return pieces
    if pieces and "tool_calls" in pieces[0]:
        return [{"role": "assistant", "content": None, **pieces[0], "refusal": None}, *pieces[1:]]
    return [OPENING, *pieces]


def _render_call(call: ToolCall) -> dict[str, Any]:
    # Clients add up what is repeated: id, type and name come once, with the first piece.
    if call.id:
        function = {"name": call.name, "arguments": call.arguments}
        return {"index": call.index, "id": call.id, "type": "function", "function": function}
    return {"index": call.index, "function": {"arguments": call.arguments}}
