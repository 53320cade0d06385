"""Server-sent events to a client: a true status line, never silence, never a faked end.

WSGI's `write` callable (PEP 3333) does what an iterable cannot: it lets the watcher's thread open the response
and keep it alive while the worker's thread waits inside `__next__` for the next event. The server writes only
what `__next__` has returned, so one lock, free only while `__next__` waits, keeps the two apart.
"""

import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import orjson
from werkzeug.http import HTTP_STATUS_CODES

from app.errors import ServiceError

KEEP_ALIVE = b": keep-alive\n\n"
SILENCE = 14.5
"""Seconds of silence after which a comment goes out: with the tick of the watcher, before 15."""

PATIENCE = 9.5
"""Seconds that the first event is waited for before the status line goes out without it: at the latest after 10."""

MAX_WRITE = 65_536

MAX_PULSE = 1024
"""Bytes for which there is room whenever a socket is said to have some."""

Headers = list[tuple[str, str]]
Write = Callable[[bytes], object]
StartResponse = Callable[[str, Headers], Write]


class Frame(NamedTuple):
    """Bytes for the client; `more` says that the next frame is ready, so that both may go out in one write."""

    data: bytes
    more: bool = False


def render_status(status: int) -> str:
    """The status line's number and phrase."""
    return f"{status} {HTTP_STATUS_CODES.get(status, 'Client Closed Request')}"


def render_event(data: Any) -> bytes:
    """One event without a name, as Chat Completions sends them."""
    return b"data: " + orjson.dumps(data) + b"\n\n"


class EventStream:
    """The body of a streamed response, and its status line once it is known.

    Args:
        frames: what to send; a `ServiceError` that it raises becomes the status of the response if nothing has
            been sent, an error event otherwise.
        opened: gives the headers of the response that was opened, called once with the error or None.
        closed: called once at the end with the error or None, and the number of bytes.
        client: the client's socket, if there is one.
    """

    def __init__(
        self,
        frames: Iterator[Frame],
        opened: Callable[[ServiceError | None], Headers],
        closed: Callable[[ServiceError | None, int], None],
        client: socket.socket | None = None,
    ) -> None:
        self._frames = frames
        self._opened = opened
        self._closed = closed
        self._client = client
        self._start: StartResponse | None = None
        self._write: Write | None = None
        # Held while the server writes, free while `__next__` waits: who gets it may write instead.
        self._turn = threading.Lock()
        self._turn.acquire()
        self._ended = False
        self._pending: list[bytes] = []
        self._last = time.monotonic()
        self._size = 0
        self._refusal: ServiceError | None = None
        self.error: ServiceError | None = None

    def begin(self, start_response: StartResponse) -> "EventStream":
        """The iterable for the server, which may now be asked for the first event."""
        self._start = start_response
        return self

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._ended:
            raise StopIteration
        error, data = None, b""
        self._turn.release()
        try:
            data = self._collect()
        except ServiceError as caught:
            error = caught
        finally:
            self._turn.acquire()
        if error is not None:
            self._fail(error)
        data = self._take(data)
        if self._write is None:
            self._open()
        if not data and self._ended:
            raise StopIteration
        return data

    def close(self) -> None:
        """Abandons what has not been sent. Called by the server at the end, whatever the end was."""
        close = getattr(self._frames, "close", None)
        if close is not None:
            close()
        closed, self._closed = self._closed, lambda *_: None
        closed(self.error, self._size)

    def pulse(self, now: float) -> None:
        """Sends what waits, or a comment if the client has heard nothing for long; called by the watcher."""
        if not self._turn.acquire(blocking=False):
            return
        try:
            due = now - self._last >= (PATIENCE if self._write is None else SILENCE)
            # Never more than fits: the watcher must not wait for one client while others need it.
            small = 0 < sum(map(len, self._pending)) <= MAX_PULSE
            if (due or small) and self._writable():
                with suppress(OSError):
                    self._open()(self._take() if small else KEEP_ALIVE)
                self._last = now
        finally:
            self._turn.release()

    def _collect(self) -> bytes:
        """Waits for a frame that none is ready behind; those before it are pending meanwhile."""
        size = 0
        for frame in self._frames:
            size += len(frame.data)
            if not frame.more or size > MAX_WRITE:
                return frame.data
            with self._turn:
                self._pending.append(frame.data)
        self._ended = True
        return b""

    def _fail(self, error: ServiceError) -> None:
        self.error = error
        self._ended = True
        if self._write is None and not self._pending:
            self._refusal = error
            self._pending.append(orjson.dumps(error.body(), option=orjson.OPT_INDENT_2))
        else:
            self._pending.append(render_event(error.body()))

    def _take(self, last: bytes = b"") -> bytes:
        """What is pending, and `last` behind it."""
        if self._pending:
            last = b"".join([*self._pending, last])
            self._pending.clear()
        self._size += len(last)
        self._last = time.monotonic()
        return last

    def _open(self) -> Write:
        if self._write is None:
            assert self._start is not None
            status = 200 if self._refusal is None else self._refusal.status
            self._write = self._start(render_status(status), self._opened(self._refusal))
        return self._write

    def _writable(self) -> bool:
        if self._client is None:
            return True
        poll = select.poll()
        poll.register(self._client, select.POLLOUT)
        return bool(poll.poll(0))
