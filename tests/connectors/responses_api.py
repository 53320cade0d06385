"""The Responses connector and answers in its format, for its tests."""

import json
from collections.abc import Callable
from typing import Any

from upstream import Exchange, serving

from app.messages import Message, Prompt, Reply
from app.scope import Scope
from connectors.responses import Responses

USER = {"role": "user", "content": "Hi"}
COUNTS = {
    "input_tokens": 5,
    "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 1},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 3},
}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "a", "name": "f", "arguments": '{"x":1}'}


def connector(url: str = "http://x/v1", **options: Any) -> Responses:
    return Responses("main", Responses.Options().load({"url": url, "model": "up", "retries": 0, **options}))


def sent(*messages: Message, drop: list[str] | None = None, **params: Any) -> dict[str, Any]:
    """The body that a prompt without tools becomes."""
    asked = connector(drop=drop or [])
    return json.loads(json.dumps(asked.render_prompt(Prompt(messages or (USER,), (), params), False)))


def items_of(*messages: Message) -> list[Any]:
    return sent(*messages)["input"]


def ask(answer: Callable[[Exchange], None], stream: bool = True) -> Reply:
    """The whole reply to a provider's answer."""
    with serving(answer) as upstream:
        asked = connector(upstream.url)
        return Reply(lambda _: asked.stream(Prompt((USER,)), Scope(), stream)).read()


def message(text: str = "Hi", **item: Any) -> dict[str, Any]:
    """An item that says something."""
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}], **item}


def response(*items: Any, **fields: Any) -> dict[str, Any]:
    """A whole answer."""
    return {"object": "response", "status": "completed", "output": list(items), "usage": COUNTS, **fields}


def told(*items: Any, **fields: Any) -> Reply:
    """The reply to an answer that comes whole."""
    return ask(lambda exchange: exchange.answer(response(*items, **fields)), stream=False)


def event(kind: str, index: int = 0, **fields: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", "output_index": index, **fields}


def text(delta: Any, **fields: Any) -> dict[str, Any]:
    return event("output_text.delta", delta=delta, **fields)


def end(kind: str = "completed", **fields: Any) -> dict[str, Any]:
    return event(kind, response=response(status=kind, **fields))


def pieces(whole: bytes, size: int = 7) -> Callable[[Exchange], None]:
    """A stream in pieces of that many bytes."""

    def answer(exchange: Exchange) -> None:
        exchange.begin()
        for start in range(0, len(whole), size):
            exchange.chunk(whole[start : start + size])
        exchange.send(b"0\r\n\r\n")

    return answer


def streamed(*events: Any) -> Reply:
    """The reply to a stream of these events."""
    return ask(pieces("".join(f"data: {json.dumps(each, ensure_ascii=False)}\n\n" for each in events).encode()))
