"""Bedrock as an upstream: frames, streams and whole answers as it sends them."""

import json
from typing import Any
from zlib import crc32

from upstream import Exchange, Script, serving

from app.messages import Message, Prompt, Reply
from app.scope import Scope
from connectors.bedrock import Bedrock

USER = {"role": "user", "content": "Hi"}
USAGE = {"inputTokens": 5, "outputTokens": 7, "cacheReadInputTokens": 3, "cacheWriteInputTokens": 2, "totalTokens": 17}
COUNTED = {"usage": USAGE, "metrics": {"latencyMs": 1}}


def connector(url: str = "https://bedrock-runtime.us-east-1.amazonaws.com", **options: Any) -> Bedrock:
    """A connector with these options."""
    return Bedrock("main", Bedrock.Options().load({"url": url, "model": "amazon.m", "retries": 0, **options}))


def ask(script: Script, stream: bool = True, prompt: Prompt | None = None, **options: Any) -> Reply:
    """The whole reply to a provider's answer."""
    with serving(script) as upstream:
        asked = connector(upstream.url, **options)
        return Reply(lambda _: asked.stream(prompt or Prompt((USER,)), Scope(), stream)).read()


def sent(*messages: Message, tools: tuple[Any, ...] = (), model: str = "amazon.m", **params: Any) -> Any:
    """The body that a prompt becomes."""
    prompt = Prompt(messages or (USER,), tools, params)
    return json.loads(json.dumps(connector(model=model).render_prompt(prompt, False)))


def header(name: str, value: str) -> bytes:
    """A header that is text."""
    return bytes([len(name)]) + name.encode() + b"\7" + len(value).to_bytes(2, "big") + value.encode()


def frame(payload: bytes, headers: bytes) -> bytes:
    """A frame with right checksums."""
    prelude = (16 + len(headers) + len(payload)).to_bytes(4, "big") + len(headers).to_bytes(4, "big")
    whole = prelude + crc32(prelude).to_bytes(4, "big") + headers + payload
    return whole + crc32(whole).to_bytes(4, "big")


def event(name: str, **payload: Any) -> bytes:
    """An event of a stream, with the padding that Bedrock adds."""
    headers = header(":event-type", name) + header(":message-type", "event")
    return frame(json.dumps({**payload, "p": "abc"}, ensure_ascii=False).encode(), headers)


def delta(index: int, **piece: Any) -> bytes:
    """A piece of a block."""
    return event("contentBlockDelta", contentBlockIndex=index, delta=piece)


def call(index: int, id_: str, name: str, *arguments: str) -> bytes:
    """A call, whole."""
    start = event("contentBlockStart", contentBlockIndex=index, start={"toolUse": {"toolUseId": id_, "name": name}})
    pieces = [delta(index, toolUse={"input": piece}) for piece in arguments]
    return b"".join([start, *pieces, event("contentBlockStop", contentBlockIndex=index)])


def end(reason: str = "end_turn") -> bytes:
    """The end and the count."""
    return event("messageStop", stopReason=reason) + event("metadata", **COUNTED)


def streamed(*frames: bytes, size: int = 7) -> Script:
    """A stream of these frames, in pieces of `size` bytes."""

    def script(exchange: Exchange) -> None:
        kind = b"application/vnd.amazon.eventstream"
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: " + kind + b"\r\nTransfer-Encoding: chunked\r\n\r\n")
        body = event("messageStart", role="assistant") + b"".join(frames)
        for start in range(0, len(body), size):
            exchange.chunk(body[start : start + size])
        exchange.send(b"0\r\n\r\n")

    return script


def whole(reason: str = "end_turn", *content: Any) -> Script:
    """A whole answer."""
    message = {"role": "assistant", "content": content}
    return lambda exchange: exchange.answer({"output": {"message": message}, "stopReason": reason, **COUNTED})
