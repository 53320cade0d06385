"""Streams to a client: a true status line, no silence, no faked end."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import orjson
import pytest

from app import sse
from app.errors import BadRequest, ClientGone, ServiceError, UpstreamFailed
from app.sse import KEEP_ALIVE, EventStream, Frame, render_event


class Server:
    """The server's side of WSGI: what was written by the iterator's thread or another's, in order."""

    def __init__(self, frames: Iterator[Frame], client: socket.socket | None = None) -> None:
        self.status = ""
        self.written: list[bytes] = []
        self.closed: tuple[ServiceError | None, int] | None = None
        self.stream = EventStream(frames, lambda error: [("x-error", str(error is not None))], self.close, client)
        self.stream.begin(self.start)

    def start(self, status: str, headers: list[tuple[str, str]]) -> object:
        assert not self.status, "the status line goes out once"
        self.status = status
        self.headers = headers
        return self.written.append

    def close(self, error: ServiceError | None, size: int) -> None:
        assert self.closed is None
        self.closed = (error, size)

    def run(self) -> bytes:
        self.written.extend(self.stream)
        self.stream.close()
        self.stream.close()
        return b"".join(self.written)


def failing(*data: bytes, error: ServiceError) -> Iterator[Frame]:
    for each in data:
        yield Frame(each)
    raise error


def test_frames_go_out_as_they_come() -> None:
    server = Server(iter([Frame(b"a"), Frame(b"b")]))

    assert server.run() == b"ab"
    assert (server.status, server.headers) == ("200 OK", [("x-error", "False")])
    assert server.closed == (None, 2)


def test_frames_that_are_ready_go_out_in_one_write() -> None:
    server = Server(iter([Frame(b"a", more=True), Frame(b"b"), Frame(b"c", more=True)]))

    assert list(server.stream) == [b"ab", b"c"]


def test_one_write_is_not_endless() -> None:
    server = Server(iter([Frame(b"x" * 40_000, more=True)] * 4))

    assert [len(data) for data in server.stream] == [80_000, 80_000]


def test_an_error_before_the_first_event_is_the_status() -> None:
    server = Server(failing(error=BadRequest("no", param="p")))

    assert orjson.loads(server.run()) == {
        "error": {"message": "no", "type": "invalid_request_error", "param": "p", "code": None}
    }
    assert (server.status, server.headers) == ("400 Bad Request", [("x-error", "True")])
    assert isinstance(server.closed and server.closed[0], BadRequest)


def test_a_client_that_has_gone_has_a_status_of_its_own() -> None:
    server = Server(failing(error=ClientGone()))
    server.run()

    assert server.status.startswith("499 ")


@pytest.mark.parametrize("more", [True, False])
def test_an_error_later_is_an_event_and_the_end(more: bool) -> None:
    def frames() -> Iterator[Frame]:
        yield Frame(b"a", more)
        raise UpstreamFailed("broke")

    server = Server(frames())

    assert server.run() == b"a" + render_event(UpstreamFailed("broke").body())
    assert server.status == "200 OK"


class Slow:
    """Frames of which the second waits until it is let go."""

    def __init__(self, first: Frame | None = None) -> None:
        self.first = first
        self.waiting = threading.Event()
        self.go = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        if self.first:
            yield self.first
        self.waiting.set()
        self.go.wait(10)
        yield Frame(b"late")


def in_thread(server: Server) -> threading.Thread:
    thread = threading.Thread(target=server.run)
    thread.start()
    return thread


def test_a_client_that_hears_nothing_gets_the_status_line_and_a_comment() -> None:
    slow = Slow()
    server = Server(iter(slow))
    thread = in_thread(server)
    slow.waiting.wait(10)

    server.stream.pulse(time.monotonic() + sse.PATIENCE - 1)
    assert server.written == []
    server.stream.pulse(time.monotonic() + sse.PATIENCE + 1)
    assert (server.status, server.written) == ("200 OK", [KEEP_ALIVE])

    slow.go.set()
    thread.join()
    assert server.written == [KEEP_ALIVE, b"late"]


def test_a_comment_breaks_every_long_silence() -> None:
    slow = Slow(Frame(b"a"))
    server = Server(iter(slow))
    thread = in_thread(server)
    slow.waiting.wait(10)

    server.stream.pulse(time.monotonic() + sse.SILENCE - 1)
    assert server.written == [b"a"]
    server.stream.pulse(time.monotonic() + sse.SILENCE + 1)
    slow.go.set()
    thread.join()

    assert server.written == [b"a", KEEP_ALIVE, b"late"]


def test_what_waits_for_a_frame_that_does_not_come_is_sent() -> None:
    slow = Slow(Frame(b"a", more=True))
    server = Server(iter(slow))
    thread = in_thread(server)
    slow.waiting.wait(10)

    server.stream.pulse(time.monotonic())
    assert server.written == [b"a"]
    slow.go.set()
    thread.join()

    assert b"".join(server.written) == b"alate"


def test_an_end_after_what_was_sent_meanwhile_is_an_end() -> None:
    waiting, go = threading.Event(), threading.Event()

    def frames() -> Iterator[Frame]:
        yield Frame(b"a", more=True)
        waiting.set()
        go.wait(10)

    server = Server(frames())
    thread = in_thread(server)
    waiting.wait(10)
    server.stream.pulse(time.monotonic())
    go.set()
    thread.join()

    assert server.written == [b"a"]


def test_an_error_after_a_comment_is_an_event() -> None:
    waiting, go = threading.Event(), threading.Event()

    def frames() -> Iterator[Frame]:
        waiting.set()
        go.wait(10)
        raise UpstreamFailed()
        yield

    server = Server(frames())
    thread = in_thread(server)
    waiting.wait(10)
    server.stream.pulse(time.monotonic() + 60)
    go.set()
    thread.join()

    assert (server.status, server.written) == ("200 OK", [KEEP_ALIVE, render_event(UpstreamFailed().body())])


def test_nothing_is_written_while_the_server_writes() -> None:
    server = Server(iter([Frame(b"a")]))

    server.stream.pulse(time.monotonic() + 60)

    assert server.written == []


def test_a_client_that_does_not_read_is_not_waited_for() -> None:
    client, ours = socket.socketpair()
    ours.setblocking(False)
    with client, ours:
        with suppress(BlockingIOError):
            while ours.send(b"x" * 65536):
                pass
        slow = Slow()
        server = Server(iter(slow), ours)
        thread = in_thread(server)
        slow.waiting.wait(10)

        server.stream.pulse(time.monotonic() + 60)

        assert server.written == []
        slow.go.set()
        thread.join()


def test_a_stream_that_is_left_ends_its_frames() -> None:
    ended = []

    def frames() -> Iterator[Frame]:
        try:
            yield Frame(b"a")
        finally:
            ended.append(True)

    server = Server(frames())
    next(server.stream)
    server.stream.close()

    assert ended == [True]


def test_more_than_surely_fits_is_not_written_for_a_client_that_may_not_read() -> None:
    slow = Slow(Frame(b"x" * 5000, more=True))
    server = Server(iter(slow))
    thread = in_thread(server)
    slow.waiting.wait(10)

    server.stream.pulse(time.monotonic())
    assert server.written == []
    server.stream.pulse(time.monotonic() + 60)
    slow.go.set()
    thread.join()

    assert server.written == [KEEP_ALIVE, b"x" * 5000 + b"late"]
