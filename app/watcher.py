"""One thread a process that looks after the requests in flight: it notices what a blocked thread cannot.

A worker thread that waits for a provider does not see that its client has hung up, that the call's time is
up, or that the client has heard nothing for a while. The watcher does, without any help from the flow.
"""

import select
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from app.errors import ClientGone
from app.scope import Scope

TICK = 0.25
"""Seconds between two looks at what depends on time."""


class Pulse(Protocol):
    """Something that wants to be told the time now and then."""

    def pulse(self, now: float) -> None:
        """Called every `TICK` seconds with the monotonic time; must not block."""


class _Watch:
    __slots__ = ("client", "early", "pulse", "scope", "selected")

    def __init__(self, scope: Scope, client: socket.socket | None, pulse: Pulse | None) -> None:
        self.scope = scope
        self.client = client
        self.pulse = pulse
        self.selected = False
        self.early = False


class Watcher:
    """Watches scopes: cancels those whose client has gone, cuts calls whose time is up, passes on the time.

    The thread starts with the first watch, so that it lives in the worker and not in the process that forked it.
    A client's socket is selected from the next tick on: most requests have been answered by then.
    """

    def __init__(self) -> None:
        self._watches: dict[Scope, _Watch] = {}
        self._selector: selectors.BaseSelector | None = None
        self._lock = threading.Lock()

    def watch(self, scope: Scope, client: socket.socket | None = None, pulse: Pulse | None = None) -> None:
        """Starts watching `scope`: `client` is its client's socket, `pulse` what wants to know the time."""
        with self._lock:
            if self._selector is None:
                self._selector = selectors.DefaultSelector()
                threading.Thread(target=self._run, args=(self._selector,), name="watcher", daemon=True).start()
            self._watches[scope] = _Watch(scope, client, pulse)

    def unwatch(self, scope: Scope) -> None:
        """Stops watching; afterwards the client's socket is not touched any more."""
        with self._lock:
            watch = self._watches.pop(scope, None)
            if watch is not None:
                self._forget(watch)
                watch.client = None

    @contextmanager
    def watching(self, scope: Scope, client: socket.socket | None) -> Iterator[None]:
        """Watches while the block runs."""
        self.watch(scope, client)
        try:
            yield
        finally:
            self.unwatch(scope)

    def _forget(self, watch: _Watch) -> None:
        if watch.selected:
            assert self._selector is not None
            assert watch.client is not None
            self._selector.unregister(watch.client)
        watch.selected = False

    def _run(self, selector: selectors.BaseSelector) -> None:
        due = time.monotonic() + TICK
        while True:
            for key, _ in selector.select(max(0.0, due - time.monotonic())):
                self._look(key.data)
            now = time.monotonic()
            if now >= due:
                due = now + TICK
                self._tick(now, selector)

    def _look(self, watch: _Watch) -> None:
        # Asked again under the lock: by now the request may have ended, and the descriptor be another client's.
        with self._lock:
            if watch.client is None:
                return
            gone = _closed(watch.client)
            # Readable without an end: a client that sends early. It stays readable, so it is asked at each tick.
            watch.early = not gone
            self._forget(watch)
        if gone:
            watch.scope.cancel(ClientGone())

    def _tick(self, now: float, selector: selectors.BaseSelector) -> None:
        with self._lock:
            watches = list(self._watches.values())
            left = [watch.scope for watch in watches if watch.early and watch.client and _hung_up(watch.client)]
            for watch in watches:
                if watch.client is not None and not watch.selected and not watch.early:
                    selector.register(watch.client, selectors.EVENT_READ, watch)
                    watch.selected = True
        for scope in left:
            scope.cancel(ClientGone())
        for watch in watches:
            watch.scope.expire(now)
            if watch.pulse is not None:
                watch.pulse.pulse(now)


def _closed(client: socket.socket) -> bool:
    try:
        return not socket.socket.recv(client, 1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:  # pragma: no cover - the kernel has taken back that it was readable
        return False
    except OSError:
        return True


def _hung_up(client: socket.socket) -> bool:
    """Whether the other side has closed, though it has sent something before that nobody has read."""
    poll = select.poll()
    poll.register(client, getattr(select, "POLLRDHUP", 0))
    return bool(poll.poll(0))
