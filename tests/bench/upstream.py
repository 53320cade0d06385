"""A fake provider of Chat Completions that costs next to nothing: one thread, one epoll, every byte made beforehand.

The prompt says what it answers: `@N,P@` asks for a stream of N tokens, P milliseconds apart (0: all in one write),
`@0,0@` for a whole answer of 600 bytes of text. Run as a script it prints its port and serves until it is ended.
"""

import functools
import heapq
import json
import re
import select
import socket
import time
from typing import Any

TOKEN = "token "
MARKER = re.compile(rb"@(\d+),(\d+)@")

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: "
_STREAM_HEAD = _HEAD + b"text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_COMPLETION = {"id": "chatcmpl-0123456789abcdef", "created": 1750000000, "model": "fake"}
_USAGE = {"prompt_tokens": 12, "completion_tokens": 100, "total_tokens": 112}


def _render_event(data: bytes) -> bytes:
    """A server-sent event in an HTTP chunk of its own."""
    event = b"data: " + data + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(event), event)


def _render_chunk(delta: dict[str, str], finish: str | None = None, **more: Any) -> bytes:
    choices = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
    chunk = {**_COMPLETION, "object": "chat.completion.chunk", "choices": choices, "usage": None, **more}
    return _render_event(json.dumps(chunk).encode())


def _render_whole() -> bytes:
    message = {"role": "assistant", "content": TOKEN * (600 // len(TOKEN))}
    choices = [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}]
    body = json.dumps({**_COMPLETION, "object": "chat.completion", "choices": choices, "usage": _USAGE}).encode()
    return _HEAD + b"application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body


_WHOLE = _render_whole()
_TOKEN = _render_chunk({"content": TOKEN})
_FIRST = _STREAM_HEAD + _render_chunk({"role": "assistant", "content": ""}) + _TOKEN
_END = _render_chunk({}, "stop") + _render_chunk({}, choices=[], usage=_USAGE) + _render_event(b"[DONE]") + b"0\r\n\r\n"
_LAST = _TOKEN + _END


@functools.cache
def _render_burst(tokens: int) -> bytes:
    return _FIRST + _TOKEN * (tokens - 2) + _LAST


class _Peer:
    """One connection: what has come of a request, what has not gone out of an answer."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.received = b""
        self.waiting = b""


class Upstream:
    """The server: `run` does not return.

    Args:
        listener: where it is reached.
    """

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._epoll = select.epoll()
        self._epoll.register(listener, select.EPOLLIN)
        self._peers: dict[int, _Peer] = {}
        self._due: list[tuple[float, int, _Peer, int, float]] = []
        self._count = 0

    def run(self) -> None:
        """Serves."""
        while True:
            timeout = max(0.0, self._due[0][0] - time.monotonic()) if self._due else -1
            for descriptor, event in self._epoll.poll(timeout):
                if descriptor == self._listener.fileno():
                    self._accept()
                elif event & select.EPOLLOUT:
                    self._send(self._peers[descriptor], b"")
                else:
                    self._receive(self._peers[descriptor])
            self._send_due()

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._peers[connection.fileno()] = _Peer(connection)
        self._epoll.register(connection, select.EPOLLIN)

    def _receive(self, peer: _Peer) -> None:
        try:
            data = peer.connection.recv(1 << 20)
        except ConnectionResetError:
            data = b""
        if not data:
            del self._peers[peer.connection.fileno()]
            peer.connection.close()
            return
        peer.received += data
        head = peer.received.find(b"\r\n\r\n")
        if head < 0 or len(peer.received) < head + 4 + _parse_length(peer.received[:head]):
            return
        marker = MARKER.search(peer.received, head)
        assert marker is not None, "the prompt does not say what to answer"
        peer.received = b""
        self._answer(peer, int(marker[1]), int(marker[2]) / 1000)

    def _answer(self, peer: _Peer, tokens: int, pace: float) -> None:
        if not tokens:
            self._send(peer, _WHOLE)
        elif not pace:
            self._send(peer, _render_burst(tokens))
        else:
            self._send(peer, _FIRST)
            self._plan(time.monotonic() + pace, peer, tokens - 1, pace)

    def _plan(self, when: float, peer: _Peer, left: int, pace: float) -> None:
        self._count += 1
        heapq.heappush(self._due, (when, self._count, peer, left, pace))

    def _send_due(self) -> None:
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            when, _, peer, left, pace = heapq.heappop(self._due)
            if peer.connection.fileno() < 0:
                continue
            self._send(peer, _TOKEN if left > 1 else _LAST)
            if left > 1:
                self._plan(when + pace, peer, left - 1, pace)

    def _send(self, peer: _Peer, data: bytes) -> None:
        """Sends what waits and `data`, as far as it goes without waiting."""
        data = peer.waiting + data
        try:
            sent = peer.connection.send(data)
        except BlockingIOError:
            sent = 0
        except ConnectionError:
            sent = len(data)
        if bool(peer.waiting) != (sent < len(data)):
            events = select.EPOLLIN if peer.waiting else select.EPOLLIN | select.EPOLLOUT
            self._epoll.modify(peer.connection, events)
        peer.waiting = data[sent:]


def _parse_length(head: bytes) -> int:
    return int(head.lower().partition(b"content-length:")[2].partition(b"\r")[0])


def main() -> None:
    """Serves on a free port of this machine."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    print(listener.getsockname()[1], flush=True)
    Upstream(listener).run()


if __name__ == "__main__":
    main()
