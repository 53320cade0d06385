"""Connections to a provider: used again when they are whole, cut when they are not wanted, never mixed up."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from script import begin, full_listener, give, send, then
from tls import serving_tls, write_certificate
from upstream import Exchange, Script, serving

from app.connection import ConnectFailed, ConnectTimeout
from app.errors import ClientGone, UpstreamTimeout
from app.scope import Call, Scope
from app.transport import Timeout, Upstream

LATER = Timeout()
SOON = Timeout(connect=0.3)
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
FIRST = b"\r\n9\r\ndata: x\n\n\r\n"
END = b"0\r\n\r\n"


def new_call(total: float = 60.0) -> Call:
    return Scope().open_call("main", "openai", "m", total)


def post(url: str, timeout: Timeout, call: Call, **options: str) -> bytes:
    """The whole body of the answer."""
    with Upstream(url, {}, timeout, **options).post(b"{}", call) as answer:
        return b"".join(answer.chunks())


def cut_soon(call: Call) -> float:
    """Has the call cut in a moment; the time now."""
    threading.Timer(0.1, call.cut, [ClientGone()]).start()
    return time.monotonic()


@contextmanager
def silent_listener() -> Iterator[str]:
    """The address of a host that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def late(data: bytes) -> Script:
    def script(exchange: Exchange) -> None:
        time.sleep(0.1)
        exchange.send(data)

    return then(send(HEAD + FIRST), script)


def rest(size: int) -> bytes:
    return b"%x\r\n%s\r\n" % (size, bytes(size)) + END


@pytest.mark.parametrize(
    ("script", "drain", "connections"),
    [
        pytest.param(send(HEAD + FIRST + END), False, 1, id="over"),
        pytest.param(send(HEAD + FIRST + rest(100_000)), True, 1, id="drained"),
        pytest.param(send(HEAD + FIRST + rest(100_000)), False, 2, id="left in the middle"),
        pytest.param(send(HEAD + FIRST + rest(500_000)), True, 2, id="too much left"),
        pytest.param(late(END), True, 2, id="kept open by the provider"),
        pytest.param(late(b"zz\r\n"), True, 2, id="broken at the end"),
        pytest.param(send(HEAD + b"Connection: close\r\n" + FIRST + END), True, 2, id="not offered again"),
    ],
)
def test_only_a_stream_that_was_taken_to_its_end_leaves_a_connection(
    script: Script, drain: bool, connections: int
) -> None:
    with serving(script) as upstream:
        sender = Upstream(upstream.url, {}, LATER)
        for _ in range(2):
            with sender.post(b"{}", new_call()) as answer:
                assert next(answer.chunks()).startswith(b"data: x\n\n")
                if drain:
                    answer.drain()

        assert len({id(each.connection) for each in upstream.exchanges}) == connections


CLOSING = send(HEAD + b"Connection: close\r\n" + FIRST)


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(Exchange.wait_gone, id="before the first byte"),
        pytest.param(then(begin, Exchange.wait_gone), id="in the middle"),
        pytest.param(then(CLOSING, Exchange.wait_gone), id="in the middle of the last answer"),
    ],
)
def test_a_call_can_be_cut_while_it_waits_for_an_answer(script: Script) -> None:
    call = new_call()
    with serving(script) as upstream:
        started = cut_soon(call)

        with pytest.raises(ClientGone):
            post(upstream.url, LATER, call)

        assert time.monotonic() - started < 2
        assert upstream.exchanges[0].gone.wait(2)


def test_a_call_can_be_cut_while_it_connects() -> None:
    call = new_call()
    with full_listener() as url:
        started = cut_soon(call)

        with pytest.raises(ClientGone):
            post(url, LATER, call)

        assert time.monotonic() - started < 2


def test_a_call_can_be_cut_while_it_agrees_on_keys() -> None:
    call = new_call()
    with silent_listener() as address:
        started = cut_soon(call)

        with pytest.raises(ClientGone):
            post(f"https://{address}", LATER, call)

        assert time.monotonic() - started < 2


def test_a_call_can_be_cut_behind_tls(tmp_path: Path) -> None:
    certificate, call = write_certificate(tmp_path), new_call()
    with serving_tls(then(Exchange.wait_gone), certificate) as upstream:
        started = cut_soon(call)

        with pytest.raises(ClientGone):
            post(upstream.url, LATER, call, ca=str(certificate))

        assert time.monotonic() - started < 2


def test_a_call_that_was_cut_before_sends_nothing() -> None:
    call = new_call()
    call.cut(ClientGone())

    with serving(give({})) as upstream, pytest.raises(ClientGone):
        post(upstream.url, LATER, call)

    assert not upstream.exchanges


def test_a_connection_that_was_cut_is_not_used_again() -> None:
    with serving(send(HEAD + FIRST + END)) as upstream:
        sender = Upstream(upstream.url, {}, LATER)
        call = new_call()
        with sender.post(b"{}", call) as answer:
            call.cut(ClientGone())
            answer.drain()
        sender.post(b"{}", new_call()).close()

        assert len({id(each.connection) for each in upstream.exchanges}) == 2


def test_a_connection_that_was_given_back_is_not_cut_any_more() -> None:
    def script(exchange: Exchange) -> None:
        exchange.send(HEAD + FIRST)
        last.wait(5)
        exchange.send(END)

    last = threading.Event()
    with serving(send(HEAD + FIRST + END)) as upstream:
        sender, first = Upstream(upstream.url, {}, LATER), new_call()
        with sender.post(b"{}", first) as answer:
            answer.read(100)
        upstream.script = script
        with sender.post(b"{}", new_call()) as answer:
            first.cut(ClientGone())
            last.set()

            assert answer.read(100) == b"data: x\n\n"
        assert len({id(each.connection) for each in upstream.exchanges}) == 1


def test_a_new_connection_is_made_in_place_of_one_that_the_provider_closed() -> None:
    def script(exchange: Exchange) -> None:
        exchange.answer({})
        exchange.connection.shutdown(socket.SHUT_RDWR)

    with serving(script) as upstream:
        sender = Upstream(upstream.url, {}, LATER)
        for _ in range(2):
            with sender.post(b"{}", new_call()) as answer:
                assert answer.read(100) == b"{}"
            time.sleep(0.1)


def test_keys_are_not_waited_for_longer_than_for_a_connection() -> None:
    with silent_listener() as address, pytest.raises(ConnectTimeout):
        post(f"https://{address}", SOON, new_call())


def test_the_time_of_the_call_counts_while_it_connects() -> None:
    with full_listener() as url, pytest.raises(UpstreamTimeout) as caught:
        post(url, SOON, new_call(total=0.1))

    assert not isinstance(caught.value, ConnectTimeout), "there is no time left to try again"


def test_a_name_that_is_none_was_sent_nothing() -> None:
    with pytest.raises(ConnectFailed):
        post(f"http://{'a' * 64}.example", SOON, new_call())


def test_every_address_of_a_name_is_tried() -> None:
    with serving(give({})) as upstream:
        assert post(upstream.url.replace("127.0.0.1", "localhost"), LATER, new_call()) == b"{}"


def test_small_packets_are_not_held_back() -> None:
    class Noting(Call):
        def own(self, connection: socket.socket) -> None:
            delays.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            super().own(connection)

    delays: list[int] = []
    with serving(give({})) as upstream:
        post(upstream.url, LATER, Noting(Scope(), "main", "openai", "m", 60))

    assert delays
    assert all(delays)
