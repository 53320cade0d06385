"""The watcher notices what a thread that waits cannot."""

import socket
import time
from collections.abc import Iterator

import pytest

from app.errors import ClientGone, UpstreamTimeout
from app.scope import Scope
from app.watcher import TICK, Watcher, _Watch

SOON = 1.0


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A client's end of a connection, and ours."""
    client, ours = socket.socketpair()
    with client, ours:
        yield client, ours


def wait_for(scope: Scope, seconds: float = SOON) -> bool:
    deadline = time.monotonic() + seconds
    while scope.cancelled is None and time.monotonic() < deadline:
        time.sleep(0.005)
    return scope.cancelled is not None


def test_a_client_that_closes_ends_its_scope(pair: tuple[socket.socket, socket.socket]) -> None:
    client, ours = pair
    scope = Scope()

    with Watcher().watching(scope, ours):
        client.close()

        assert wait_for(scope)
    assert isinstance(scope.cancelled, ClientGone)


def test_a_client_that_resets_ends_its_scope() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        ours, _ = server.accept()
        scope = Scope()
        with ours, Watcher().watching(scope, ours):
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()

            assert wait_for(scope)


def test_a_client_that_sends_early_is_not_gone(pair: tuple[socket.socket, socket.socket]) -> None:
    client, ours = pair
    scope = Scope()

    with Watcher().watching(scope, ours):
        client.sendall(b"GET / HTTP/1.1\r\n")

        assert not wait_for(scope, 0.1)
    assert ours.recv(3) == b"GET"


def test_a_client_that_sends_early_and_leaves_ends_its_scope() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        ours, _ = server.accept()
        scope = Scope()
        with ours, Watcher().watching(scope, ours):
            client.sendall(b"GET / HTTP/1.1\r\n")
            assert not wait_for(scope, TICK * 3)
            client.close()

            assert wait_for(scope)


def test_after_the_watch_the_client_may_close(pair: tuple[socket.socket, socket.socket]) -> None:
    client, ours = pair
    scope, watcher = Scope(), Watcher()
    with watcher.watching(scope, ours):
        pass
    watcher.unwatch(scope)

    client.close()

    assert not wait_for(scope, 0.1)


def test_a_call_whose_time_is_up_is_cut(pair: tuple[socket.socket, socket.socket]) -> None:
    _, upstream = pair
    scope = Scope()
    call = scope.open_call("main", "openai", "m", total=0.05)
    call.own(upstream)

    with Watcher().watching(scope, None):
        # The end of the connection, not a time-out of the socket: it has none.
        assert upstream.recv(1) == b""
    with pytest.raises(UpstreamTimeout):
        call.check()


def test_time_is_passed_on() -> None:
    class Pulse:
        times: list[float] = []  # noqa: RUF012

        def pulse(self, now: float) -> None:
            self.times.append(now)

    watcher, scope = Watcher(), Scope()
    watcher.watch(scope, None, Pulse())
    time.sleep(TICK * 3)
    watcher.unwatch(scope)

    assert 1 <= len(Pulse.times) <= 3


def test_a_request_that_has_ended_meanwhile_is_left_alone() -> None:
    scope = Scope()

    Watcher()._look(_Watch(scope, None, None))

    assert scope.cancelled is None
