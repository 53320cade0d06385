"""The log: one short JSON line a record, with nothing in it that somebody sent."""

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from marshmallow.fields import Integer

from app.log import LOGGER, MAX_LINE, LineFormatter, describe_call, milliseconds, own_frames
from app.messages import Usage
from app.scope import Scope

TEXT = st.builds(str.__mul__, st.text(max_size=9), st.integers(0, 700))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=6,
)


@contextmanager
def lines(name: str = LOGGER.name) -> Iterator[list[dict[str, Any]]]:
    """What a logger's records become while the block runs."""
    handler = logging.StreamHandler(io.StringIO())
    handler.setFormatter(LineFormatter())
    logger = logging.getLogger(name)
    level, found = logger.level, list[dict[str, Any]]()
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield found
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        found.extend(map(json.loads, handler.stream.getvalue().splitlines()))


def line(message: Any, *args: Any, name: str = LOGGER.name, level: int = logging.INFO, **options: Any) -> str:
    """The line of one record."""
    record = logging.LogRecord(name, level, "", 0, message, args, options.pop("exc_info", None))
    vars(record).update(options)
    return LineFormatter().format(record)


def fail(text: str) -> Any:
    """An exception and where it happened."""
    try:
        raise ValueError(text)
    except ValueError:
        return sys.exc_info()


def test_a_record_with_fields_is_those_fields() -> None:
    with lines() as found:
        LOGGER.info("request", {"owner": "acme", "calls": [{"ms": 5}]})

    (record,) = found
    assert record.pop("timestamp").endswith("+00:00")
    own = {"owner": "acme", "calls": [{"ms": 5}]}
    assert record == {"level": "INFO", "logger": "cadenza", "message": "request", **own}


def test_a_record_without_fields_is_its_text() -> None:
    with lines() as found:
        LOGGER.error("%s is broken: %d", "it", 5)

    assert (found[0]["level"], found[0]["message"]) == ("ERROR", "it is broken: 5")
    assert set(found[0]) == {"level", "logger", "message", "timestamp"}


def test_an_exception_is_its_type_and_our_own_frames_innermost_first() -> None:
    def act() -> Any:
        raise ValueError("canary")

    with lines() as found, suppress(ValueError):
        try:
            act()
        finally:
            LOGGER.error("a flow failed", exc_info=True)

    kind, inner, _ = found[0]["exc_info"].split(" < ")
    assert (kind, inner) == ("ValueError", f"tests/test_log.py:{act.__code__.co_firstlineno + 1} act")
    assert "canary" not in str(found)


def test_no_exception_is_no_failure_of_the_log() -> None:
    assert json.loads(line("x", exc_info=(None, None, None)))["exc_info"] == "None"


def test_only_our_own_frames_are_told_outermost_first() -> None:
    def inner(_: Any) -> None:
        json.loads("{")

    with pytest.raises(json.JSONDecodeError) as caught:
        Integer(validate=inner).deserialize(1)

    assert [frame.split(" ")[-1] for frame in own_frames(caught.value.__traceback__)] == [
        "test_only_our_own_frames_are_told_outermost_first",
        "inner",
    ]


@pytest.mark.parametrize(
    ("name", "level", "message", "args", "text"),
    [
        pytest.param("gunicorn.error", "INFO", "Listening at: %s", ("here",), "Listening at: here", id="news"),
        pytest.param("gunicorn.error", "WARNING", "Invalid request: canary", (), "Invalid request", id="a stranger"),
        pytest.param("gunicorn.error", "ERROR", "Error at %s", ("canary",), "Error at %s", id="a path"),
        pytest.param("urllib3.connectionpool", "DEBUG", '%s "%s"', ("canary", "x"), '%s "%s"', id="a URL"),
        pytest.param("asyncio", "ERROR", "two\ncanary", (), "two", id="lines"),
        pytest.param("x", "ERROR", ValueError("canary"), (), "ValueError", id="an exception as text"),
        pytest.param("x", "INFO", "%(a)s", ({"a": "canary"},), "%(a)s", id="fields of others"),
        pytest.param("cadenza", "INFO", "ours: %s", ("told",), "ours: told", id="ours"),
    ],
)
def test_records_of_others_are_cut_to_their_fixed_text(
    name: str, level: str, message: Any, args: tuple[Any, ...], text: str
) -> None:
    written = line(message, *args, name=name, level=logging.getLevelNamesMapping()[level])

    assert (json.loads(written)["message"], json.loads(written)["level"]) == (text, level)
    assert "canary" not in written


def test_nothing_else_of_others_is_told() -> None:
    said = {"stack_info": "canary", "exc_text": "canary", "url": "canary", "exc_info": fail("canary")}

    written = line("fixed", name="x", created=0, **said)

    assert "canary" not in written
    assert set(json.loads(written)) == {"level", "logger", "message", "timestamp", "exc_info"}
    assert json.loads(written)["timestamp"] == "1970-01-01T00:00:00+00:00"


@given(message=TEXT, fields=st.dictionaries(TEXT, JSON, min_size=1, max_size=12))
def test_a_line_is_short_whatever_is_in_it(message: str, fields: dict[str, Any]) -> None:
    for written in (
        line(message, fields),
        line("%s", message),
        line(message, name="x"),
        line("x", extra=fields),
    ):
        assert len(written.encode()) + 1 <= MAX_LINE
        assert "\n" not in written
        assert isinstance(json.loads(written), dict)


def test_a_long_line_keeps_what_is_short() -> None:
    calls = [{"connector": "main", "ms": number} for number in range(500)]

    found = json.loads(line("request", {"owner": "acme", "calls": calls, "text": "x" * 9000}))

    assert (found["owner"], found["calls"], found["truncated"]) == ("acme", calls[:4], True)
    assert found["text"] == "x" * 200


def test_what_cannot_be_cut_is_left_out() -> None:
    found = json.loads(line("request", {"owner": "acme", "deep": {"a": "x" * 9000}}))

    assert (found["owner"], found["message"], found["truncated"]) == ("acme", "request", True)
    assert "deep" not in found


@pytest.mark.parametrize("size", range(-3, 4))
def test_the_end_of_a_line_counts_as_well(size: int) -> None:
    bare = len(line("request", {"text": ""})) + 1

    written = line("request", {"text": "x" * (MAX_LINE - bare + size)})

    assert ("truncated" in json.loads(written)) is (size > 0)


def test_endless_recursion_is_a_short_line() -> None:
    def sink() -> None:
        sink()

    with lines() as found:
        try:
            sink()
        except RecursionError:
            LOGGER.error("a flow failed", exc_info=True)

    assert found[0]["exc_info"].startswith("RecursionError < tests/test_log.py")
    assert found[0]["truncated"]


def test_a_call_is_told_by_what_it_cost() -> None:
    call = Scope().open_call("main", "openai", "gpt-5", 60)
    call.attempts, call.seconds = 2, 1.2345
    short = {
        "connector": "main",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-5",
        "attempts": 2,
        "ms": 1234,
    }
    assert describe_call(call) == short

    call.first_chunk, call.usage, call.error = 0.12345, Usage(5, 7), "UpstreamFailed"
    assert describe_call(call) == {
        **short,
        "gen_ai.response.time_to_first_chunk": 0.1235,
        "gen_ai.usage.input_tokens": 5,
        "gen_ai.usage.output_tokens": 7,
        "error.type": "UpstreamFailed",
    }


def test_milliseconds_are_whole() -> None:
    assert (milliseconds(0.0126), milliseconds(None)) == (13, None)


SPEAK = """
import logging, urllib3, warnings
from app import log
log.configure("error"); log.configure("{level}")
log.LOGGER.debug("debug")
log.LOGGER.info("ours %s", 1)
logging.getLogger("gunicorn.error").info("Booting worker with pid: %s", 5)
logging.getLogger("urllib3").warning("Retrying: %r", "canary")
warnings.warn("canary " + "x" * 9000)
logging.getLogger("cadenza").error("odd", extra={{"odd": object}})
"""


@pytest.mark.parametrize(
    ("level", "messages"),
    [
        ("debug", ["debug", "ours 1", "Booting worker with pid: 5", "Retrying", "<string>:9", "odd"]),
        ("info", ["ours 1", "Booting worker with pid: 5", "Retrying", "<string>:9", "odd"]),
        ("error", ["odd"]),
    ],
)
def test_all_logging_goes_to_standard_output_as_lines(level: str, messages: list[str]) -> None:
    command = [sys.executable, "-c", SPEAK.format(level=level)]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)

    assert [json.loads(each)["message"] for each in done.stdout.splitlines()] == messages
    assert done.stderr == ""
    assert "canary" not in done.stdout
