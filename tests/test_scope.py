"""A scope ends, pays and counts for everything done for one client request."""

import socket
import threading
import time

import pytest

from app.errors import ClientGone, UpstreamTimeout
from app.messages import Usage
from app.scope import Scope


def test_cancelling_ends_open_calls_under_whoever_waits() -> None:
    ours, theirs = socket.socketpair()
    scope = Scope()
    call = scope.open_call("main", "openai", "m", 60)
    call.own(ours)
    threading.Timer(0.05, scope.cancel, [ClientGone()]).start()

    assert ours.recv(1) == b""
    assert not call.disown(), "a connection that was shut down is never used again"
    with pytest.raises(ClientGone):
        call.check()
    ours.close()
    theirs.close()


def test_a_cancelled_scope_opens_no_calls() -> None:
    scope = Scope()
    scope.cancel(ClientGone())
    scope.cancel(UpstreamTimeout())

    with pytest.raises(ClientGone):
        scope.open_call("main", "openai", "m", 60)


def test_a_call_that_was_cut_before_it_connected_takes_no_connection() -> None:
    ours, theirs = socket.socketpair()
    call = Scope().open_call("main", "openai", "m", 60)
    call.cut(ClientGone())

    with ours, theirs, pytest.raises(ClientGone):
        call.own(ours)


def test_a_connection_that_was_given_back_is_not_touched() -> None:
    ours, theirs = socket.socketpair()
    scope = Scope()
    call = scope.open_call("main", "openai", "m", 60)
    call.own(ours)

    assert call.disown()
    scope.cancel(ClientGone())

    with ours, theirs:
        theirs.sendall(b"x")
        assert ours.recv(1) == b"x"


def test_a_call_that_has_ended_cannot_be_cut() -> None:
    call = Scope().open_call("main", "openai", "m", 60)
    call.close()
    seconds = call.seconds
    call.close()

    call.cut(ClientGone())

    call.check()
    assert call.seconds == seconds


def test_a_call_past_its_deadline_is_cut_by_its_own_thread_too() -> None:
    call = Scope().open_call("main", "openai", "m", total=-1)

    with pytest.raises(UpstreamTimeout):
        call.check()


def test_only_calls_past_their_deadline_expire() -> None:
    scope = Scope()
    early, late = scope.open_call("a", "", "", 1), scope.open_call("b", "", "", 100)

    scope.expire(time.monotonic() + 10)

    late.check()
    with pytest.raises(UpstreamTimeout):
        early.check()


def test_silence_is_limited_only_while_there_is_a_connection() -> None:
    ours, theirs = socket.socketpair()
    call = Scope().open_call("main", "openai", "m", 60)
    call.allow_silence(1)

    with ours, theirs:
        call.own(ours)
        call.allow_silence(2.5)

        assert ours.gettimeout() == 2.5


def test_retries_come_from_one_budget() -> None:
    scope = Scope(retries=2)

    assert [scope.take_retry() for _ in range(3)] == [True, True, False]


def test_waiting_ends_with_the_scope() -> None:
    scope = Scope()
    threading.Timer(0.05, scope.cancel, [ClientGone()]).start()
    started = time.monotonic()

    with pytest.raises(ClientGone):
        scope.wait(30)
    assert time.monotonic() - started < 5


def test_waiting_goes_on_as_long_as_it_should() -> None:
    started = time.monotonic()

    Scope().wait(0.02)

    assert time.monotonic() - started >= 0.02


def test_usage_is_the_sum_of_all_calls() -> None:
    scope = Scope()
    for usage in (Usage(1, 2, cached_tokens=1), None, Usage(10, 20, reasoning_tokens=5)):
        scope.open_call("main", "openai", "m", 60).usage = usage

    assert scope.usage == Usage(11, 22, cached_tokens=1, reasoning_tokens=5)


def test_what_nobody_counted_is_not_zero() -> None:
    assert Scope().usage is None
