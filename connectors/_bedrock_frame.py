"""Amazon's binary event stream (`application/vnd.amazon.eventstream`), of which Bedrock's streams are made.

A frame is, big endian: its length (4 bytes), that of its headers (4), the CRC-32 of these eight bytes (4), headers,
payload, and the CRC-32 of all before (4).
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple
from zlib import crc32

from app.errors import UpstreamFailed
from app.event import MAX_EVENT

PRELUDE = 12
"""Bytes before a frame's headers."""

MAX_HEADERS = 131_072
"""Bytes of a frame's headers."""

SIZES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Bytes of a header's value by its type; those of types 6 (bytes) and 7 (text) are said in two bytes before it."""


class Frame(NamedTuple):
    """A frame; `more` says that another one has arrived with it."""

    headers: Mapping[str, str]
    payload: bytes
    more: bool = False


def read_frames(chunks: Iterator[bytes]) -> Iterator[Frame]:
    """The frames in a byte stream, wherever its pieces were cut.

    Raises:
        UpstreamFailed: a checksum is wrong, a frame is larger than `MAX_EVENT`, or the last one is not whole.
    """
    buffer = bytearray()
    for chunk in chunks:
        buffer += chunk
        start, size = 0, _find_size(buffer, 0)
        while size:
            frame = _parse_frame(bytes(buffer[start : start + size]))
            start += size
            size = _find_size(buffer, start)
            yield frame._replace(more=bool(size))
        del buffer[:start]
    if buffer:
        raise UpstreamFailed()


def _find_size(buffer: bytearray, start: int) -> int:
    """The length of the frame that starts there, 0 if it is not whole yet."""
    prelude = buffer[start : start + PRELUDE]
    if len(prelude) < PRELUDE:
        return 0
    size, headers = _number(prelude[:4]), _number(prelude[4:8])
    fits = headers + PRELUDE + 4 <= size <= MAX_EVENT and headers <= MAX_HEADERS
    if not fits or crc32(prelude[:8]) != _number(prelude[8:]):
        raise UpstreamFailed()
    return size if len(buffer) - start >= size else 0


def _parse_frame(frame: bytes) -> Frame:
    if crc32(frame[:-4]) != _number(frame[-4:]):
        raise UpstreamFailed()
    end = PRELUDE + _number(frame[4:8])
    return Frame(_parse_headers(frame[PRELUDE:end]), frame[end:-4])


@lru_cache(maxsize=32)
def _parse_headers(block: bytes) -> Mapping[str, str]:
    """The headers that are text. Nearly all frames of a stream have the same."""
    headers, start = {}, 0
    while start < len(block):
        name = block[start + 1 : start + 1 + block[start]].decode()
        start += 1 + block[start]
        kind, start = block[start], start + 1
        if kind in SIZES:
            start += SIZES[kind]
            continue
        end = start + 2 + _number(block[start : start + 2])
        if kind == 7:
            headers[name] = block[start + 2 : end].decode()
        start = end
    return headers


def _number(data: bytes | bytearray) -> int:
    return int.from_bytes(data, "big")
