"""What everything done for one client request shares: its end, its retry budget, the calls made for it."""

import socket
import threading
import time
from contextlib import suppress

from app.errors import ServiceError, UpstreamTimeout
from app.messages import Usage


class Call:
    """One call of a connector: what the log tells of it, and the connection that can be cut under it.

    Args:
        scope: the client request that the call is made for.
        connector: the configured name; `provider` and `model` are whom it asks.
        total: seconds after which the call is cut, retries included.
    """

    def __init__(self, scope: "Scope", connector: str, provider: str, model: str, total: float) -> None:
        self.scope = scope
        self.connector = connector
        self.provider = provider
        self.model = model
        self.started = time.monotonic()
        self.deadline = self.started + total
        self.attempts = 0
        self.seconds: float | None = None
        self.first_chunk: float | None = None
        self.usage: Usage | None = None
        self.error: str | None = None
        self._socket: socket.socket | None = None
        self._cut: ServiceError | None = None
        self._lock = threading.Lock()

    def own(self, connection: socket.socket) -> None:
        """Marks `connection` as this call's: whoever cuts the call shuts it down.

        Raises:
            ServiceError: the call has been cut already.
        """
        with self._lock:
            self._socket = connection
            if self._cut is not None:
                raise self._cut

    def allow_silence(self, seconds: float) -> None:
        """Limits the time between two pieces of the answer that is being read."""
        with self._lock:
            if self._socket is not None:
                self._socket.settimeout(seconds)

    def disown(self) -> bool:
        """Takes the mark off; False if the connection was shut down and must not be used again."""
        with self._lock:
            self._socket = None
            return self._cut is None

    def cut(self, reason: ServiceError) -> None:
        """Shuts the connection down under whoever waits for it; `check` raises `reason` from now on."""
        with self._lock:
            if self._cut is None and self.seconds is None:
                self._cut = reason
                if self._socket is not None:
                    # The method of the plain socket: that of a TLS socket is not safe under a reading thread.
                    with suppress(OSError):
                        socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def check(self) -> None:
        """Raises the reason if the call has been cut or its time is up."""
        if self._cut is None and time.monotonic() > self.deadline:
            self.cut(UpstreamTimeout())
        if self._cut is not None:
            raise self._cut

    def close(self) -> None:
        """Notes the end of the call."""
        with self._lock:
            if self.seconds is None:
                self.seconds = time.monotonic() - self.started
                self._socket = None


class Scope:
    """One client request: cancelled as a whole, with one budget of retries for all the calls made in it.

    Args:
        retries: how often calls may be tried again, all of them together.
    """

    def __init__(self, retries: int = 0) -> None:
        self.calls: list[Call] = []
        self.cancelled: ServiceError | None = None
        self._retries = retries
        self._ended = threading.Event()
        self._lock = threading.Lock()

    def open_call(self, connector: str, provider: str, model: str, total: float) -> Call:
        """A new call; raises the reason if the scope has been cancelled."""
        call = Call(self, connector, provider, model, total)
        with self._lock:
            if self.cancelled is not None:
                raise self.cancelled
            self.calls.append(call)
        return call

    def cancel(self, reason: ServiceError) -> None:
        """Ends all work: open connections are shut down, waiting ends, later calls raise `reason`."""
        with self._lock:
            if self.cancelled is not None:
                return
            self.cancelled = reason
        self._ended.set()
        for call in self.calls:
            call.cut(reason)

    def expire(self, now: float) -> None:
        """Cuts the calls whose time is up at `now` (monotonic seconds)."""
        for call in self.calls:
            if call.seconds is None and now > call.deadline:
                call.cut(UpstreamTimeout())

    def take_retry(self) -> bool:
        """Takes one retry from the budget; False if there is none left."""
        with self._lock:
            if self._retries <= 0:
                return False
            self._retries -= 1
            return True

    def wait(self, seconds: float) -> None:
        """Sleeps, but not beyond the scope's end, whose reason is raised."""
        self._ended.wait(seconds)
        if self.cancelled is not None:
            raise self.cancelled

    @property
    def usage(self) -> Usage | None:
        """The sum over all calls; None if no provider counted."""
        counted = [call.usage for call in self.calls if call.usage is not None]
        return sum(counted[1:], counted[0]) if counted else None
