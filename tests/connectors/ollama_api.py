"""The Ollama connector and answers in its format, for its tests."""

from collections.abc import Callable
from typing import Any

from upstream import Exchange, serving

from app.messages import Message, Prompt, Reply
from app.scope import Scope
from connectors.ollama import Ollama

USER = {"role": "user", "content": "Hi"}


def connector(url: str = "http://x", **options: Any) -> Ollama:
    return Ollama("main", Ollama.Options().load({"url": url, "model": "up", "retries": 0, **options}))


def ask(answer: Callable[[Exchange], None], stream: bool = True) -> Reply:
    """The whole reply to a provider's answer."""
    with serving(answer) as upstream:
        asked = connector(upstream.url.removesuffix("/v1"))
        return Reply(lambda _: asked.stream(Prompt((USER,)), Scope(), stream)).read()


def pieces(whole: bytes, size: int = 7) -> Callable[[Exchange], None]:
    def answer(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n")
        for start in range(0, len(whole), size):
            exchange.chunk(whole[start : start + size])
        exchange.send(b"0\r\n\r\n")

    return answer


def calling(*calls: tuple[str, str, str], **message: Any) -> Message:
    """An assistant's message that calls functions: their ids, names and arguments."""
    rendered = [
        {"id": id_, "type": "function", "function": {"name": name, "arguments": text}} for id_, name, text in calls
    ]
    return {"role": "assistant", "content": None, "tool_calls": rendered, **message}
