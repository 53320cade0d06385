"""Server-sent events from a provider."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from app.errors import UpstreamFailed

MAX_EVENT = 16 * 1024 * 1024
"""Bytes of one event."""

MAX_LINES = 65_536
"""Lines of data in one event: each takes more memory than its bytes."""

_ALONE = re.compile(rb"data: ?([^\r\n]+)\n\n")


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
            continue
        events = reader.feed(chunk)
        last = len(events) - 1
        for number, (name, data) in enumerate(events):
            yield Event(name, data, number < last)
    for name, data in reader.end():
        yield Event(name, data)


class _Reader:
    """What has been read of an event that is not complete."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        self._waiting = 0
        self._started = False
        self._begin()

    @property
    def between(self) -> bool:
        """Whether nothing of an event has been read."""
        return self._started and not (self._rest or self._data or self._name)

    def feed(self, chunk: bytes) -> list[tuple[str, bytes]]:
        """The events that `chunk` completes: their names and data."""
        events = []
        for line in self._take_lines(chunk):
            if line:
                self._take(line)
            else:
                events += self._complete()
        return events

    def end(self) -> list[tuple[str, bytes]]:
        """The event that the end of the stream has left without its blank line."""
        if self._rest:
            self._take(b"".join(self._rest).removesuffix(b"\r"))
        return self._complete()

    def _complete(self) -> list[tuple[str, bytes]]:
        name, data = self._name, b"\n".join(self._data)
        self._begin()
        # An event without data is none, and neither is one whose data is empty.
        return [(name, data)] if data else []

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
        if not self._started:
            self._started = True
            lines[0] = lines[0].removeprefix(b"\xef\xbb\xbf")
        self._rest, self._waiting = [tail] if tail else [], len(tail)
        return [line.removesuffix(b"\r") for line in lines] if b"\r" in whole else lines
