"""Reading a provider's event stream, however its bytes were cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import UpstreamFailed
from app.event import MAX_EVENT, Event, read_events


def read(*chunks: bytes) -> list[tuple[str, bytes]]:
    return [(event.name, event.data) for event in read_events(iter(chunks))]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        pytest.param(b"data: a\n\n", [("", b"a")], id="one event"),
        pytest.param(b"data:a\n\n", [("", b"a")], id="without the space"),
        pytest.param(b"data: a\r\n\r\ndata: b\r\n\r\n", [("", b"a"), ("", b"b")], id="CRLF"),
        pytest.param(b": ping\n\ndata: a\n\n: ping\n\n", [("", b"a")], id="comments"),
        pytest.param(b"data: a\ndata: b\n\n", [("", b"a\nb")], id="several data lines"),
        pytest.param(b"event: error\ndata: a\n\ndata: b\n\n", [("error", b"a"), ("", b"b")], id="a name counts once"),
        pytest.param(b"event: ping\n\ndata: a\n\n", [("", b"a")], id="an event without data is none"),
        pytest.param(b"id: 1\nretry: 5\ndata: a\n\n", [("", b"a")], id="unknown fields"),
        pytest.param(b"\n\n\ndata: a\n\n", [("", b"a")], id="blank lines"),
        pytest.param(b"data:\n\ndata: a\n\n", [("", b"a")], id="an event with empty data is none"),
        pytest.param(b"\xef\xbb\xbfdata: a\n\n", [("", b"a")], id="a byte order mark"),
        pytest.param(b"data: a", [("", b"a")], id="the last one unended"),
        pytest.param(b"data: a\r", [("", b"a")], id="the last one half ended"),
        pytest.param(b"", [], id="nothing"),
    ],
)
def test_events_are_read(stream: bytes, events: list[tuple[str, bytes]]) -> None:
    assert read(stream) == events


TEXTS = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), min_size=1), min_size=1, max_size=5)


@given(TEXTS, st.sampled_from(["\n", "\r\n"]), st.integers(1, 9))
def test_where_the_bytes_are_cut_makes_no_difference(texts: list[str], end: str, size: int) -> None:
    stream = "".join(f"data: {text}{end}{end}" for text in texts).encode()
    pieces = [stream[start : start + size] for start in range(0, len(stream), size)]

    assert read(*pieces) == [("", text.encode()) for text in texts]


def test_an_event_tells_whether_another_came_with_it() -> None:
    events = list(read_events(iter([b"data: a\n\ndata: b\n\n", b"data: c\n\n"])))

    assert events == [Event("", b"a", True), Event("", b"b", False), Event("", b"c", False)]


def test_a_comment_that_came_with_an_event_is_not_another() -> None:
    events = list(read_events(iter([b"data: a\n\n", b"data: b\n\n: ping\n\n"])))

    assert events == [Event("", b"a"), Event("", b"b")]


def test_a_line_of_several_megabytes_is_read() -> None:
    text = b"x" * (4 * 1024 * 1024)

    assert read(b"data: ", *[text[start : start + 1000] for start in range(0, len(text), 1000)], b"\n\n") == [
        ("", text)
    ]


def test_an_endless_line_is_refused() -> None:
    with pytest.raises(UpstreamFailed):
        read(*[b"x" * 65536] * (MAX_EVENT // 65536 + 1))


@pytest.mark.parametrize("line", [b"data:\n", b"data: " + b"x" * 1000 + b"\n"])
def test_an_event_of_endless_lines_is_refused(line: bytes) -> None:
    with pytest.raises(UpstreamFailed):
        read(*[line * 64] * (MAX_EVENT // 65536 * 5))
