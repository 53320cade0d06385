"""What a client can ask of a stream besides its text: the usage, and chunks that hide their size or do not."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from application import Application, chunks_of, running, streaming
from upstream import USAGE, Script, chunk, reply

END = chunk(finish="stop")


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    with running(tmp_path_factory.mktemp("app")) as app:
        yield app


def stream(app: Application, script: Script, **body: Any) -> list[dict[str, Any]]:
    return chunks_of(app.ask(script, stream=True, **body))


def test_usage_comes_last_if_it_is_asked_for(app: Application) -> None:
    *before, last = stream(app, reply(), stream_options={"include_usage": True})

    assert last["choices"] == []
    assert {key: last["usage"][key] for key in USAGE} == USAGE
    assert [each["usage"] for each in before] == [None] * 3


@pytest.mark.parametrize("body", [{}, {"stream_options": {}}, {"stream_options": {"include_usage": False}}])
def test_usage_is_not_even_null_if_it_is_not_asked_for(app: Application, body: dict[str, Any]) -> None:
    chunks = stream(app, reply(), **body)

    assert all("usage" not in each and each["choices"] for each in chunks)


def test_usage_that_nobody_counted_is_null(app: Application) -> None:
    last = stream(app, streaming(chunk("Hi"), END), stream_options={"include_usage": True})[-1]

    assert (last["choices"], last["usage"]) == ([], None)


# What hides the size of a chunk.


def test_the_size_of_a_chunk_tells_little_of_the_size_of_its_text(app: Application) -> None:
    texts = ["a", "ab", "é", '"', "\n", "a" * 8, "a" * 12]

    answer = app.ask(streaming(*map(chunk, texts), END), stream=True)

    sizes = {len(event.encode()) for event in answer.text.split("\n\n")[1:-3]}
    assert len(sizes) <= 2
    assert max(sizes) - min(sizes) in (0, 16)


def test_no_two_paddings_are_alike(app: Application) -> None:
    paddings = [each["obfuscation"] for each in stream(app, streaming(*[chunk("a")] * 20, END))]

    assert all(re.fullmatch("[A-Za-z0-9]{1,16}", padding) for padding in paddings)
    assert len(set(paddings)) > len(paddings) / 2


def test_every_chunk_is_padded_also_that_of_the_usage(app: Application) -> None:
    chunks = stream(app, reply(), stream_options={"include_usage": True})

    assert all(each["obfuscation"] for each in chunks)


def test_padding_can_be_left_out(app: Application) -> None:
    options = {"include_obfuscation": False, "include_usage": True}

    assert all("obfuscation" not in each for each in stream(app, reply(), stream_options=options))
