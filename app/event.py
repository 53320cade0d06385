"""Server-sent events from a provider."""

from collections.abc import Iterator
from typing import NamedTuple

from app.errors import UpstreamFailed

MAX_EVENT = 16 * 1024 * 1024
"""Bytes of one event."""

MAX_LINES = 65_536
"""Lines of data in one event: each takes more memory than its bytes."""


class Event(NamedTuple):
    """A server-sent event; `more` says that another one has arrived with it."""

    name: str
    data: bytes
    more: bool = False


def read_events(chunks: Iterator[bytes]) -> Iterator[Event]:
    """The events in a byte stream (WHATWG HTML, server-sent events), wherever its pieces were cut.

    Lines end in LF or CRLF; comments and unknown fields are passed over, several `data` lines are joined.

    Raises:
        UpstreamFailed: an event is larger than `MAX_EVENT`, or has more than `MAX_LINES`.
    """
    name, data, size = "", list[bytes](), 0
    for lines in _read_lines(chunks):
        last = len(lines) - 1
        for number, line in enumerate(lines):
            if line.startswith(b"data:"):
                data.append(line[5:].removeprefix(b" "))
                size += len(line)
                if size > MAX_EVENT or len(data) > MAX_LINES:
                    raise UpstreamFailed()
            elif line.startswith(b"event:"):
                name = line[6:].strip().decode(errors="replace")
            elif not line:
                if data:
                    yield Event(name, b"\n".join(data), number < last)
                name, data, size = "", [], 0
    if data:
        yield Event(name, b"\n".join(data))


def _read_lines(chunks: Iterator[bytes]) -> Iterator[list[bytes]]:
    """Whole lines, those that came together in one list."""
    rest, size = list[bytes](), 0
    for chunk in chunks:
        size += len(chunk)
        if size > MAX_EVENT:
            raise UpstreamFailed()
        if b"\n" not in chunk:
            rest.append(chunk)
            continue
        rest.append(chunk)
        whole = b"".join(rest)
        lines = whole.split(b"\n")
        tail = lines.pop()
        rest, size = [tail] if tail else [], len(tail)
        yield [line.removesuffix(b"\r") for line in lines] if b"\r" in whole else lines
    if rest:
        yield [b"".join(rest).removesuffix(b"\r")]
