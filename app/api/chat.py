"""POST /v1/chat/completions: the request becomes a prompt, the reply becomes a completion or its chunks."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from flask import Blueprint, Response

from app.api import edge
from app.api.chat_answer import Head, render_chunks, render_completion
from app.api.exchange import Exchange, current
from app.api.fault import Fault
from app.api.response import StreamResponse
from app.errors import BadRequest
from app.messages import Prompt, Reply, new_id
from app.runner import guard, interleave
from app.scope import Scope

blueprint = Blueprint("chat", __name__)

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


@blueprint.post("/v1/chat/completions")
def create() -> Response:
    """Creates a chat completion, streamed or whole."""
    exchange = current()
    service = exchange.service
    caller = edge.authenticate(exchange)
    body = edge.read_json(exchange)
    model = parse_model(body)
    exchange.task = service.runner.resolve(model, caller)
    fields = service.chat_request.parse(body)
    exchange.user = fields.get("user") or fields.get("safety_identifier") or ""
    exchange.stream = bool(fields.get("stream"))
    exchange.scope = Scope(0 if is_retry(exchange) else service.settings.service.retries)
    head = Head(model, SERVICE_TIERS.get(fields.get("service_tier", ""), "default"), new_id("chatcmpl-", 29), _now())
    prompt = parse_prompt(fields)
    replies = [
        service.runner.run(exchange.task, prompt, exchange.scope, exchange.stream) for _ in range(fields.get("n", 1))
    ]
    if exchange.stream:
        options = fields.get("stream_options", {})
        return StreamResponse(exchange, guard(render_chunks(head, replies, exchange.scope, options)))
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


def is_retry(exchange: Exchange) -> bool:
    """Whether an SDK sends this request again: its retries and ours must not multiply."""
    return exchange.environ.get("HTTP_X_STAINLESS_RETRY_COUNT", "0") not in ("", "0")


def parse_prompt(fields: Mapping[str, Any]) -> Prompt:
    """The prompt in a validated request."""
    params = {key: value for key, value in fields.items() if key not in EDGE_FIELDS}
    return Prompt(tuple(fields["messages"]), tuple(fields.get("tools", ())), params)


def _now() -> int:
    return int(time.time())
