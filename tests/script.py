"""What providers do, as steps that scripts are made of, and a host that does nothing at all."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from upstream import Exchange, Script


def give(body: Any, status: int = 200, **headers: str) -> Script:
    """Gives a whole answer."""
    return lambda exchange: exchange.answer(body, status, **headers)


@contextmanager
def full_listener() -> Iterator[str]:
    """The URL of a host that takes no more connections, and does not say so."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        for each in waiting:
            each.close()


def reset(exchange: Exchange) -> None:
    """Breaks the connection off as a crashed host does."""
    exchange.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    socket.socket.shutdown(exchange.connection, socket.SHUT_RD)
    exchange.connection.close()


def then(*steps: Callable[[Exchange], object]) -> Script:
    def script(exchange: Exchange) -> None:
        for step in steps:
            step(exchange)

    return script


def shut(exchange: Exchange) -> None:
    exchange.connection.shutdown(socket.SHUT_RDWR)


def send(data: bytes) -> Script:
    return lambda exchange: exchange.send(data)


def begin(exchange: Exchange) -> None:
    exchange.begin()
    exchange.chunk(b"data: x\n\n")
