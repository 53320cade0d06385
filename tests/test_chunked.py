"""Undoing HTTP's chunked coding, however its bytes arrive."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.chunked import MAX_LINE, ChunkedBody
from app.errors import UpstreamFailed


def encode(*contents: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(content), content) for content in contents) + b"0\r\n\r\n"


@given(st.lists(st.binary(min_size=1), max_size=5), st.integers(1, 9))
def test_content_comes_out_wherever_the_bytes_are_cut(contents: list[bytes], size: int) -> None:
    body, stream = ChunkedBody(), encode(*contents)

    out = [body.feed(stream[start : start + size]) for start in range(0, len(stream), size)]

    assert b"".join(out) == b"".join(contents)
    assert body.ended


def test_what_arrived_together_comes_out_together() -> None:
    assert ChunkedBody().feed(b"1\r\na\r\n2\r\nbc\r\n3\r\nd") == b"abcd"


def test_extensions_and_trailers_are_passed_over() -> None:
    body = ChunkedBody()

    assert body.feed(b"1;name=value\r\na\r\n0\r\nX-Trailer: 1\r\n") == b"a"
    assert not body.ended
    assert body.feed(b"\r\nHTTP/1.1 200 OK") == b""
    assert body.ended


def test_a_chunk_that_looks_like_one_and_is_not_is_read_by_its_size() -> None:
    body = ChunkedBody()

    assert body.feed(b"1\r\na\r\n2\r\nbc\r\n") == b"abc"
    assert body.feed(b"6\r\na\r\nb\r\n\r\n") == b"a\r\nb\r\n"


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(b"x\r\n", id="no size"),
        pytest.param(b"\r\n", id="an empty size"),
        pytest.param(b"-5\r\n", id="a negative size"),
        pytest.param(b"1\r\nab\r\n", id="a chunk longer than its size"),
        pytest.param(b"1" * (MAX_LINE + 1), id="an endless size"),
    ],
)
def test_what_is_no_chunked_coding_is_refused(stream: bytes) -> None:
    with pytest.raises(UpstreamFailed):
        ChunkedBody().feed(stream)
