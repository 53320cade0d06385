"""POST /v1/chat/completions: the request becomes a prompt, the reply becomes a completion or its chunks."""

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import orjson
from flask import Blueprint, Response, request

from app.api import edge
from app.api.exchange import Exchange, current
from app.api.fault import Fault
from app.api.stream import StreamResponse
from app.errors import BadRequest
from app.messages import Delta, Prompt, Reply, ToolCall, Usage, new_id
from app.runner import interleave
from app.scope import Scope
from app.sse import Frame, render_event

blueprint = Blueprint("chat", __name__)

DONE = b"data: [DONE]\n\n"

OPENING = {"role": "assistant", "content": "", "refusal": None}
"""The first delta of a reply that does not begin with a tool call."""

EDGE_FIELDS = {
    "model",
    "messages",
    "tools",
    "n",
    "stream",
    "stream_options",
    "store",
    "metadata",
    "modalities",
    "user",
    "safety_identifier",
}
"""Request fields that are dealt with here; all others are parameters of the prompt, which connectors pass on."""

SERVICE_TIERS = {"fast": "priority", "priority": "priority", "flex": "flex", "scale": "scale"}

BLOCK = 16
"""Bytes to whose next multiple a chunk is filled up, so that its size does not give its text away."""

PADDING = new_id("", 1024 + BLOCK)
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


@blueprint.post("/v1/chat/completions")
def create() -> Response:
    """Creates a chat completion, streamed or whole."""
    caller = edge.authenticate()
    exchange = current()
    service = exchange.service
    body = edge.read_json()
    model = parse_model(body)
    exchange.task = service.runner.resolve(model, caller)
    fields = service.chat_request.parse(body)
    exchange.user = fields.get("user") or fields.get("safety_identifier") or ""
    exchange.stream = bool(fields.get("stream"))
    exchange.scope = Scope(0 if is_retry() else service.settings.service.retries)
    head = Head(model, SERVICE_TIERS.get(fields.get("service_tier", ""), "default"), new_id("chatcmpl-", 29), _now())
    prompt = parse_prompt(fields)
    replies = [
        service.runner.run(exchange.task, prompt, exchange.scope, exchange.stream) for _ in range(fields.get("n", 1))
    ]
    if exchange.stream:
        options = fields.get("stream_options", {})
        return StreamResponse(exchange, render_chunks(head, replies, exchange.scope, options))
    return answer(exchange, exchange.scope, head, replies)


def answer(exchange: Exchange, scope: Scope, head: Head, replies: Sequence[Reply]) -> Response:
    """Waits for all replies, watched, and renders them as one completion."""
    with exchange.service.watcher.watching(scope, exchange.client):
        for _ in interleave(replies, scope):
            pass
    return edge.render(render_completion(head, replies, scope.usage))


def parse_model(body: Mapping[str, Any]) -> str:
    """The `model` of a request body, in the words that OpenAI has for its absence."""
    model = body.get("model")
    if model is None or model == "":
        raise BadRequest("you must provide a model parameter")
    if not isinstance(model, str):
        raise Fault.mismatch("a string", model).within("model").refusal()
    return model


def is_retry() -> bool:
    """Whether an SDK sends this request again: its retries and ours must not multiply."""
    return request.headers.get("x-stainless-retry-count", "0") not in ("", "0")


def parse_prompt(fields: Mapping[str, Any]) -> Prompt:
    """The prompt in a validated request."""
    params = {key: value for key, value in fields.items() if key not in EDGE_FIELDS}
    return Prompt(tuple(fields["messages"]), tuple(fields.get("tools", ())), params)


def render_completion(head: Head, replies: Sequence[Reply], usage: Usage | None) -> dict[str, Any]:
    """A `chat.completion` of replies that have been read."""
    completion = head.render("chat.completion")
    completion["choices"] = [
        {
            "index": index,
            "message": {**reply.message, "refusal": reply.refusal or None, "annotations": []},
            "logprobs": reply.logprobs,
            "finish_reason": render_finish(reply),
        }
        for index, reply in enumerate(replies)
    ]
    if usage is not None:
        completion["usage"] = render_usage(usage)
    return completion


def render_chunks(head: Head, replies: Sequence[Reply], scope: Scope, options: Mapping[str, Any]) -> Iterator[Frame]:
    """The events of a streamed answer: `chat.completion.chunk` objects and `[DONE]`.

    Args:
        options: the request's `stream_options`: with `include_usage` a last chunk has the tokens of all calls;
            every chunk carries a random string that hides its length, unless `include_obfuscation` is false.
    """
    chunk = head.render("chat.completion.chunk")
    if options.get("include_usage"):
        chunk["usage"] = None
    obfuscate = options.get("include_obfuscation", True)

    def render(choices: list[dict[str, Any]], more: bool = True, **rest: Any) -> Frame:
        event = {**chunk, "choices": choices, **rest}
        if obfuscate:
            event["obfuscation"] = _render_padding(choices)
        return Frame(render_event(event), more)

    opened = set[int]()
    with closing(interleave(replies, scope)) as deltas:
        for index, delta in deltas:
            pieces = _render_delta(delta, index in opened)
            opened.add(index)
            for piece in pieces:
                choice = {"index": index, "delta": piece, "finish_reason": None}
                last = piece is pieces[-1]
                if last and delta.logprobs:
                    choice["logprobs"] = delta.logprobs
                yield render([choice], delta.more or not last)
    for index, reply in enumerate(replies):
        if index not in opened:
            yield render([{"index": index, "delta": OPENING, "finish_reason": None}])
        yield render([{"index": index, "delta": {}, "finish_reason": render_finish(reply)}])
    if options.get("include_usage"):
        yield render([], usage=render_usage(scope.usage) if scope.usage else None)
    yield Frame(DONE)


def render_finish(reply: Reply) -> str:
    """Why a reply ended; one with tool calls ended for them, whatever word its provider has for it."""
    finish = reply.finish or "stop"
    return "tool_calls" if finish == "stop" and reply.tool_calls else finish


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


def _render_padding(choices: list[dict[str, Any]]) -> str:
    start = random.getrandbits(10)
    return PADDING[start : start + BLOCK - len(orjson.dumps(choices)) % BLOCK]


def _now() -> int:
    return int(time.time())
