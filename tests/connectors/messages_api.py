"""Anthropic's Messages API in tests: a connector for it, what it sends, what a provider answers."""

from collections.abc import Callable
from typing import Any

import pytest
from upstream import Exchange, serving

from app.errors import BadRequest
from app.messages import Prompt, Reply
from app.scope import Scope
from connectors.anthropic import Anthropic

USER = {"role": "user", "content": "Hi"}
HI = {"type": "text", "text": "Hi"}
SCHEMA = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"], "additionalProperties": False}
TOOL = {"type": "function", "function": {"name": "f", "description": "does", "parameters": SCHEMA, "strict": True}}
OTHER = {"type": "function", "function": {"name": "g"}}
START = {"type": "message_start", "message": {"content": [], "usage": {"input_tokens": 5, "output_tokens": 1}}}
STOP = {"type": "message_stop"}
VERTEX = "https://us-east5-aiplatform.googleapis.com/v1/projects/p/locations/us-east5/publishers/anthropic/models"


def connector(url: str = "http://x/v1", **options: Any) -> Anthropic:
    loaded = Anthropic.Options().load({"url": url, "model": "claude", "retries": 0, **options})
    return Anthropic("main", loaded)


def ask(answer: Callable[[Exchange], None], stream: bool = True, prompt: Prompt | None = None) -> Reply:
    """The whole reply to a provider's answer."""
    with serving(answer) as upstream:
        asked = connector(upstream.url)
        return Reply(lambda _: asked.stream(prompt or Prompt((USER,)), Scope(), stream)).read()


def sent(*messages: Any, tools: tuple[Any, ...] = (), options: Any = None, **params: Any) -> dict[str, Any]:
    """The body that a prompt becomes, without what is the same in all."""
    body = connector(**options or {}).render_prompt(Prompt(messages or (USER,), tools, params), False)
    body.pop("model", None)
    return body


def turns(*messages: Any) -> Any:
    """The turns that messages become."""
    return sent(*messages)["messages"]


def refusal(*messages: Any, **params: Any) -> BadRequest:
    """The error that a prompt becomes."""
    with pytest.raises(BadRequest) as caught:
        sent(*messages, **params)
    return caught.value


def block(index: int, begin: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    """The events of a content block."""
    return [
        {"type": "content_block_start", "index": index, "content_block": begin},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def text(index: int, *pieces: str) -> list[dict[str, Any]]:
    """The events of a block of text."""
    return block(index, {"type": "text", "text": ""}, *({"type": "text_delta", "text": piece} for piece in pieces))


def use(index: int, id_: str, name: str, *pieces: str) -> list[dict[str, Any]]:
    """The events of a tool call."""
    begin = {"type": "tool_use", "id": id_, "name": name, "input": {}}
    return block(index, begin, *({"type": "input_json_delta", "partial_json": piece} for piece in ("", *pieces)))


def thought(index: int, words: str, signature: str) -> list[dict[str, Any]]:
    """The events of a signed thought."""
    return block(
        index,
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": words},
        {"type": "signature_delta", "signature": signature},
    )


def end(reason: str | None = "end_turn", **delta: Any) -> dict[str, Any]:
    """The event that says why a message ended."""
    return {"type": "message_delta", "delta": {"stop_reason": reason, **delta}, "usage": {"output_tokens": 7}}


def streamed(*events: Any) -> Callable[[Exchange], None]:
    """A whole stream of these."""
    return lambda exchange: exchange.stream(START, *events, STOP)


def whole(*content: Any, reason: str | None = "end_turn", **more: Any) -> Callable[[Exchange], None]:
    """A whole message of these blocks."""
    usage = {"input_tokens": 5, "output_tokens": 7}
    body = {"type": "message", "content": list(content), "stop_reason": reason, "usage": usage, **more}
    return lambda exchange: exchange.answer(body)


def call(id_: str = "toolu_1", name: str = "f", arguments: str = '{"x":1}') -> dict[str, Any]:
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}


def called(*calls: Any, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": list(calls), **more}


def result(id_: str = "toolu_1", content: Any = "one") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id_, "content": content}


def tool_use(id_: str = "toolu_1", name: str = "f", **arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": id_, "name": name, "input": arguments}
