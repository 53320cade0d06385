"""A provider made of sockets that does what a test says: answers, streams, stalls, breaks off."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Exchange:
    """One request that arrived, and the ways to answer it."""

    connection: socket.socket
    method: str
    path: str
    headers: dict[str, str]
    raw: bytes
    gone: threading.Event = field(default_factory=threading.Event)

    @property
    def body(self) -> Any:
        return json.loads(self.raw)

    def send(self, data: bytes) -> None:
        """Sends bytes as they are."""
        self.connection.sendall(data)

    def answer(self, body: Any, status: int = 200, **headers: str) -> None:
        """Sends a whole answer; `body` is JSON unless it is bytes."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = headers.pop("content_type", "application/json")
        lines = [f"HTTP/1.1 {status} X", f"Content-Type: {kind}", f"Content-Length: {len(data)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.send("\r\n".join([*lines, "", ""]).encode() + data)

    def begin(self) -> None:
        """Opens a chunked event stream."""
        self.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")

    def chunk(self, data: bytes) -> None:
        """Sends one HTTP chunk."""
        self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def event(self, data: Any) -> None:
        """Sends one event in a chunk of its own."""
        self.chunk(b"data: " + json.dumps(data).encode() + b"\n\n")

    def end(self) -> None:
        """Ends the stream as it should end."""
        self.chunk(b"data: [DONE]\n\n")
        self.send(b"0\r\n\r\n")

    def stream(self, *chunks: Any) -> None:
        """Sends a whole stream of these chunks."""
        self.begin()
        for chunk in chunks:
            self.event(chunk)
        self.end()

    def wait_gone(self, seconds: float = 10.0) -> bool:
        """Waits until the other side closes; False if it does not."""
        self.connection.settimeout(seconds)
        with suppress(OSError):
            while self.connection.recv(65536):
                pass
            self.gone.set()
            return True
        return self.gone.is_set()


Script = Callable[[Exchange], None]


class Upstream:
    """The provider: `script` says what it does with each request; `exchanges` are those it got."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.exchanges: list[Exchange] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._connections: list[socket.socket] = []
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError, ValueError), connection.makefile("rb") as reader:
            for exchange in _read(connection, reader):
                self.exchanges.append(exchange)
                self.script(exchange)


def _read(connection: socket.socket, reader: Any) -> Iterator[Exchange]:
    while line := reader.readline():
        method, path, _ = line.decode().split()
        headers = {}
        while (line := reader.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        raw = reader.read(int(headers.get("content-length", "0")))
        yield Exchange(connection, method, path, headers, raw)


@contextmanager
def serving(script: Script) -> Iterator[Upstream]:
    """A provider that is there while the block runs."""
    upstream = Upstream(script)
    try:
        yield upstream
    finally:
        upstream.close()


def chunk(
    text: str | None = None, finish: str | None = None, usage: dict[str, Any] | None = None, **delta: Any
) -> dict[str, Any]:
    """A chunk as OpenAI sends it."""
    if text is not None:
        delta["content"] = text
    whole: dict[str, Any] = {"id": "chatcmpl-up", "object": "chat.completion.chunk", "created": 1, "model": "up"}
    whole["choices"] = [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {**whole, "usage": usage} if usage else whole


USAGE = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}


def completion(text: str | None = "Hello!", finish: str = "stop", **message: Any) -> dict[str, Any]:
    """A whole completion as OpenAI sends it."""
    return {
        "id": "chatcmpl-up",
        "object": "chat.completion",
        "created": 1,
        "model": "up",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": finish}
        ],
        "usage": USAGE,
    }


def reply(text: str = "Hello!") -> Script:
    """A provider that always answers `text`, streamed word by word or whole, as it is asked."""

    def script(exchange: Exchange) -> None:
        if not exchange.body.get("stream"):
            return exchange.answer(completion(text))
        words = [word + " " for word in text.split(" ")]
        words[-1] = words[-1].rstrip(" ")
        chunks = [chunk("", role="assistant"), *map(chunk, words), chunk(finish="stop")]
        return exchange.stream(*chunks, {**chunk(), "choices": [], "usage": USAGE})

    return script
