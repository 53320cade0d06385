"""HTTP's chunked coding (RFC 9112, section 7.1), undone for all that has arrived at once.

The standard library gives one chunk a read. Providers put every event into a chunk of its own, so that events
which came together could not be told from events that came one by one, and each would cost a read and a write.
"""

import re

from app.errors import UpstreamFailed

MAX_LINE = 4096
"""Bytes of a size line or a trailer."""

_ALONE = re.compile(rb"([0-9A-Fa-f]{1,8})\r\n(.+)\r\n", re.DOTALL)


class ChunkedBody:
    """A body in chunked coding: feed it what arrives, it gives what was meant.

    `ended` is True once the last chunk and its trailers have been seen.
    """

    def __init__(self) -> None:
        self.ended = False
        self._rest = b""
        self._left = 0
        self._trailers = False

    def feed(self, data: bytes) -> bytes:
        """The content of all chunks, and parts of chunks, in `data`.

        Raises:
            UpstreamFailed: this is no chunked coding.
        """
        if self._rest:
            data, self._rest = self._rest + data, b""
        elif not (self._left or self._trailers):
            # Nearly always one chunk arrives, and nothing but this chunk.
            alone = _ALONE.fullmatch(data)
            if alone and int(alone[1], 16) == len(alone[2]):
                return alone[2]
        parts: list[bytes] = []
        at = 0
        while at < len(data) and not self.ended:
            if self._left > 2:
                part = data[at : at + self._left - 2]
                parts.append(part)
                at += len(part)
                self._left -= len(part)
                continue
            end = data.find(b"\n", at)
            if end < 0:
                self._keep(data[at:])
                break
            self._take_line(data[at:end].removesuffix(b"\r"))
            at = end + 1
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _keep(self, rest: bytes) -> None:
        if len(rest) > MAX_LINE:
            raise UpstreamFailed()
        self._rest = rest

    def _take_line(self, line: bytes) -> None:
        """The end of a chunk, the size of the next, or a trailer."""
        if self._left:
            if line:
                raise UpstreamFailed()
            self._left = 0
        elif self._trailers:
            self.ended = not line
        else:
            self._begin(line.partition(b";")[0].strip())

    def _begin(self, size: bytes) -> None:
        try:
            length = int(size, 16)
        except ValueError:
            length = -1
        if length < 0:
            raise UpstreamFailed()
        # The line end after the content is counted with it.
        self._left = length + 2 if length else 0
        self._trailers = not length
