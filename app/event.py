"""Server-sent events from a provider."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from app.errors import UpstreamFailed

MAX_EVENT = 16 * 1024 * 1024
"""Bytes of one event."""

MAX_LINES = 65_536
"""Lines of data in one event: each takes more memory than its bytes."""

_ALONE = re.compile(rb"data: ?([^\r\n]*)\n\n")


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
    reader = _Reader()
    for chunk in chunks:
        # Nearly all that is ever streamed arrives one event at a time.
        alone = _ALONE.fullmatch(chunk) if reader.between else None
        if alone is not None:
            yield Event("", alone[1])
        else:
            yield from reader.feed(chunk)
    yield from reader.end()


class _Reader:
    """What has been read of an event that is not complete."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        self._waiting = 0
        self._begin()

    @property
    def between(self) -> bool:
        """Whether nothing of an event has been read."""
        return not (self._rest or self._data or self._name)

    def feed(self, chunk: bytes) -> Iterator[Event]:
        lines = self._take_lines(chunk)
        last = len(lines) - 1
        for number, line in enumerate(lines):
            if line:
                self._take(line)
            elif self._data:
                yield Event(self._name, b"\n".join(self._data), number < last)
                self._begin()
            else:
                self._begin()

    def end(self) -> Iterator[Event]:
        """The event that the end of the stream has left without its blank line."""
        if self._rest:
            self._take(b"".join(self._rest).removesuffix(b"\r"))
        if self._data:
            yield Event(self._name, b"\n".join(self._data))

    def _begin(self) -> None:
        self._name, self._data, self._size = "", list[bytes](), 0

    def _take(self, line: bytes) -> None:
        if line.startswith(b"data:"):
            self._data.append(line[5:].removeprefix(b" "))
            self._size += len(line)
            if self._size > MAX_EVENT or len(self._data) > MAX_LINES:
                raise UpstreamFailed()
        elif line.startswith(b"event:"):
            self._name = line[6:].strip().decode(errors="replace")

    def _take_lines(self, chunk: bytes) -> list[bytes]:
        """Whole lines; what is left of the last one waits."""
        self._waiting += len(chunk)
        if self._waiting > MAX_EVENT:
            raise UpstreamFailed()
        self._rest.append(chunk)
        if b"\n" not in chunk:
            return []
        whole = b"".join(self._rest)
        lines = whole.split(b"\n")
        tail = lines.pop()
        self._rest, self._waiting = [tail] if tail else [], len(tail)
        return [line.removesuffix(b"\r") for line in lines] if b"\r" in whole else lines
