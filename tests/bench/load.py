"""The load: requests made beforehand, sent over plain sockets from one thread, so that it costs little itself."""

import json
import select
import socket
import statistics
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from upstream import TOKEN

PATIENCE = 60.0
"""Seconds after which an answer is not waited for any longer."""

STREAMED = -1
"""In place of the number of missing bytes: the end of a stream is known by its last chunk."""

_MODEL = "urn:cadenza:flow=chat"
_TEXT = "What is a cadenza, and who is expected to improvise one?"
_TOKEN = TOKEN.encode()
_END = b"\r\n0\r\n\r\n"


class LoadError(Exception):
    """A server did not answer as it should: nothing that is measured on it counts."""


class Ask(NamedTuple):
    """What is asked for: a stream of `tokens`, `pace` milliseconds apart, or a whole answer if there are none."""

    tokens: int = 0
    pace: int = 0
    messages: int = 1

    def render(self, key: str) -> bytes:
        """The HTTP request for it, with this API key."""
        first = {"role": "user", "content": f"@{self.tokens},{self.pace}@ {_TEXT}"}
        turns = [{"role": ("user", "assistant")[n % 2], "content": _TEXT} for n in range(1, self.messages)]
        stream = {"stream": True} if self.tokens else {}
        body = json.dumps({"model": _MODEL, "messages": [first, *turns], **stream}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\n"
        return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


class Stream:
    """A connection with one answer after another.

    Of the one that is arriving: `first` is the seconds to its first token, `longest` its longest silence in seconds.
    """

    def __init__(self, port: int) -> None:
        self.connection = socket.create_connection(("127.0.0.1", port))
        self.connection.settimeout(PATIENCE)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.first: float | None = None
        self.longest = 0.0
        self._sent = self._last = 0.0
        self._parts: list[bytes] = []
        self._tail = b""
        self._left: int | None = None

    def send(self, request: bytes) -> None:
        """Asks."""
        self.first, self.longest, self._left = None, 0.0, None
        self._parts.clear()
        self._sent = self._last = time.monotonic()
        self.connection.sendall(request)

    def receive(self) -> bool:
        """Takes what has arrived; True when the answer is whole."""
        data = self.connection.recv(1 << 18)
        if not data:
            raise LoadError(f"the connection was closed after {self.read()[:300]!r}")
        now = time.monotonic()
        if self._parts:
            self.longest = max(self.longest, now - self._last)
        self._last = now
        if self.first is None and _TOKEN in data:
            self.first = now - self._sent
        self._parts.append(data)
        if self._left is None:
            self._left = _count_missing(self.read())
        elif self._left != STREAMED:
            self._left -= len(data)
        self._tail = (self._tail + data)[-len(_END) :]
        return self._left == 0 or (self._left == STREAMED and self._tail == _END)

    def read(self) -> bytes:
        """The answer so far."""
        return b"".join(self._parts)

    def check(self, ask: Ask) -> None:
        """Raises LoadError unless the answer is what was asked for."""
        answer = self.read()
        tokens = ask.tokens or 600 // len(_TOKEN)
        ended = not ask.tokens or b"data: [DONE]" in answer[-60:]
        if not answer.startswith(b"HTTP/1.1 200") or answer.count(_TOKEN) != tokens or not ended:
            raise LoadError(f"not the answer to {ask}: {answer[:1000]!r} ... {answer[-300:]!r}")


def _count_missing(answer: bytes) -> int | None:
    """Bytes that are missing, STREAMED if nobody knows, None if the head is not there yet."""
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return None
    length = head.partition(b"Content-Length: ")[2].partition(b"\r")[0]
    return int(length) - len(body) if length else STREAMED


def saturate(port: int, ask: Ask, key: str, connections: int, seconds: float) -> int:
    """Keeps `connections` busy for that long; returns how many answers came. Every 50th is checked whole."""
    request = ask.render(key)
    streams = {}
    epoll = select.epoll()
    for _ in range(connections):
        stream = Stream(port)
        streams[stream.connection.fileno()] = stream
        epoll.register(stream.connection, select.EPOLLIN)
        stream.send(request)
    end = time.monotonic() + seconds
    count, busy = 0, connections
    while busy:
        for descriptor, _ in _poll(epoll):
            stream = streams[descriptor]
            if not stream.receive():
                continue
            if count % 50 == 0:
                stream.check(ask)
            count += 1
            if time.monotonic() < end:
                stream.send(request)
            else:
                busy -= 1
    _close(streams.values(), epoll)
    return count


class Streams:
    """Streams side by side, one begun every `interval` seconds, each on a connection of its own."""

    def __init__(self, port: int, ask: Ask, key: str, count: int, interval: float) -> None:
        self._port, self._ask, self._count, self._interval = port, ask, count, interval
        self._request = ask.render(key)
        self._streams: dict[int, Stream] = {}
        self._epoll = select.epoll()
        self._running = self._silent = count

    def begin(self) -> None:
        """Begins them all, and waits until the first token of each is there."""
        begun = time.monotonic()
        for number in range(self._count):
            while (wait := begun + number * self._interval - time.monotonic()) > 0:
                self._receive(wait)
            stream = Stream(self._port)
            self._streams[stream.connection.fileno()] = stream
            self._epoll.register(stream.connection, select.EPOLLIN)
            stream.send(self._request)
        while self._silent:
            self._receive(PATIENCE)

    def finish(self) -> list[Stream]:
        """Waits for the ends of all of them, and checks them."""
        while self._running:
            self._receive(PATIENCE)
        streams = list(self._streams.values())
        for stream in streams:
            stream.check(self._ask)
        _close(streams, self._epoll)
        return streams

    def _receive(self, wait: float) -> None:
        for descriptor, _ in _poll(self._epoll, wait):
            stream = self._streams[descriptor]
            silent = stream.first is None
            self._running -= stream.receive()
            self._silent -= silent and stream.first is not None


def first_tokens(ports: Sequence[int], ask: Ask, key: str, times: int) -> list[float]:
    """Median seconds to the first token at each of `ports`, which are asked in turn, one request at a time."""
    request = ask.render(key)
    streams = [Stream(port) for port in ports]
    seconds: list[list[float]] = [[] for _ in ports]
    for _ in range(times):
        for stream, measured in zip(streams, seconds, strict=True):
            stream.send(request)
            while not stream.receive():
                pass
            stream.check(ask)
            assert stream.first is not None
            measured.append(stream.first)
    for stream in streams:
        stream.connection.close()
    return [statistics.median(measured) for measured in seconds]


def _poll(epoll: select.epoll, wait: float = PATIENCE) -> list[tuple[int, int]]:
    events = epoll.poll(wait)
    if not events and wait == PATIENCE:
        raise LoadError(f"silence for {PATIENCE:g} s")
    return events


def _close(streams: Iterable[Stream], epoll: select.epoll) -> None:
    for stream in streams:
        stream.connection.close()
    epoll.close()
