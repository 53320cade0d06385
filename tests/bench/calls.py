"""Python calls per request: exact, so free of the noise that seconds have.

Run as a script, `calls.py bare|cadenza`, in the environment that `systems.Setup` makes, it prints how many calls, of
functions written in Python and in C, the application makes for one whole answer over a warm connection.
"""

import io
import os
import socket
import statistics
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from load import Ask, LoadError

Application = Callable[..., Any]


def count_calls(application: Application, key: str) -> int:
    """The calls of a request, once everything is warm."""
    counts = [_count(application, key) for _ in range(9)]
    return round(statistics.median(counts[4:]))


def _count(application: Application, key: str) -> int:
    events: Counter[str] = Counter()

    def note(_: FrameType, event: str, __: object) -> None:
        events[event] += 1

    client, server = socket.socketpair()
    environ = _environ(Ask().render(key), server)
    answer = _Answer()
    sys.setprofile(note)
    body = application(environ, answer.start)
    answer.body = b"".join(body)
    if hasattr(body, "close"):
        body.close()
    sys.setprofile(None)
    client.close()
    server.close()
    answer.check()
    return events["call"] + events["c_call"]


class _Answer:
    def __init__(self) -> None:
        self.status = ""
        self.body = b""

    def start(self, status: str, *_: object) -> Callable[[bytes], None]:
        self.status = status
        return lambda _: None

    def check(self) -> None:
        if not self.status.startswith("200"):
            raise LoadError(f"{self.status}: {self.body!r}")


def _environ(request: bytes, client: socket.socket) -> dict[str, Any]:
    """What gunicorn would make of the request."""
    head, _, body = request.partition(b"\r\n\r\n")
    line, *fields = head.decode().split("\r\n")
    headers = {name.upper().replace("-", "_"): value for name, _, value in (field.partition(": ") for field in fields)}
    contents = {name: headers.pop(name) for name in ("CONTENT_TYPE", "CONTENT_LENGTH")}
    method, path, protocol = line.split()
    return {
        **contents,
        **{f"HTTP_{name}": value for name, value in headers.items()},
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SCRIPT_NAME": "",
        "SERVER_PROTOCOL": protocol,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "gunicorn.socket": client,
    }


def _load(name: str) -> Application:
    if name == "bare":
        import bare

        return bare.app
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from app import create_app

    return create_app()


def main() -> None:
    """Counts and prints."""
    output = sys.stdout
    # What is logged counts, but is of no interest.
    with Path(os.devnull).open("w") as sys.stdout:
        print(count_calls(_load(sys.argv[1]), os.environ["BENCH_KEY"]), file=output)


if __name__ == "__main__":
    main()
