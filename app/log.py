"""One JSON line a request on standard output, with the names of OpenTelemetry's semantic conventions.

What may be logged is listed, not filtered: counts, times, names from the configuration, kinds of errors. Other
libraries' records are cut down to their fixed text, because what they put into it may come from a request.
"""

import logging
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.orjson import OrjsonFormatter

from app.scope import Call

MAX_LINE = 4096
"""Bytes, its end included; a longer line could be torn apart on a pipe that several workers write to (PIPE_BUF)."""

LOGGER = logging.getLogger("cadenza")

_ROOT = Path(__file__).resolve().parent.parent
_SERVER_NEWS = {"gunicorn.error"}
_RESERVED = [*RESERVED_ATTRS, "taskName"]


class LineFormatter(OrjsonFormatter):
    """A record as one line of JSON of at most `MAX_LINE` bytes that holds nothing a client sent."""

    def __init__(self) -> None:
        super().__init__(
            "%(levelname)s %(name)s %(message)s",
            rename_fields={"levelname": "level", "name": "logger"},
            reserved_attrs=_RESERVED,
            timestamp=True,
        )

    def format(self, record: logging.LogRecord) -> str:
        if record.name == LOGGER.name and isinstance(record.args, dict):
            line = _format_fields(record, record.args)
        else:
            line = super().format(record if record.name.startswith(LOGGER.name) else _fixed_text(record))
        return line if len(line.encode()) < MAX_LINE else _shorten(line)

    def formatException(self, ei: Any) -> str:
        """The type and where it happened in our own files; never the text, which may quote a request."""
        return " < ".join([getattr(ei[0], "__name__", "None"), *reversed(own_frames(ei[2]))])


def configure(level: str) -> None:
    """Sends all logging to standard output as JSON lines; `level` is a name such as `info`."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(LineFormatter())
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    logging.captureWarnings(True)
    # What cannot be written is left out, not printed with all its arguments.
    logging.raiseExceptions = False
    # What no line tells needs not be found out for each.
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


def own_frames(trace: Any) -> list[str]:
    """`file:line function` for each frame in this project's own files, outermost first."""
    return [
        f"{Path(frame.filename).relative_to(_ROOT)}:{frame.lineno} {frame.name}"
        for frame in traceback.extract_tb(trace)
        if Path(frame.filename).is_relative_to(_ROOT) and ".venv" not in frame.filename
    ]


def describe_call(call: Call) -> dict[str, Any]:
    """What the log tells of one call of a connector."""
    fields: dict[str, Any] = {
        "connector": call.connector,
        "gen_ai.provider.name": call.provider,
        "gen_ai.request.model": call.model,
        "attempts": call.attempts,
        "ms": milliseconds(call.seconds),
    }
    if call.first_chunk is not None:
        fields["gen_ai.response.time_to_first_chunk"] = round(call.first_chunk, 4)
    if call.usage is not None:
        fields["gen_ai.usage.input_tokens"] = call.usage.input_tokens
        fields["gen_ai.usage.output_tokens"] = call.usage.output_tokens
    if call.error is not None:
        fields["error.type"] = call.error
    return fields


def milliseconds(seconds: float | None) -> int | None:
    """Whole milliseconds."""
    return None if seconds is None else round(seconds * 1000)


def _format_fields(record: logging.LogRecord, fields: dict[str, Any]) -> str:
    """The line of a record whose argument is a dict of fields: the one that every request writes."""
    time = datetime.fromtimestamp(record.created, UTC).isoformat()
    head = {"level": record.levelname, "logger": record.name, "message": record.msg}
    return orjson.dumps({**head, **fields, "timestamp": time}).decode()


def _shorten(line: str) -> str:
    """The line with less in its largest fields, or without them."""
    fields = orjson.loads(line)
    names = sorted(fields, key=lambda name: len(orjson.dumps(fields[name])), reverse=True)
    steps = iter([(cut, name) for cut in (_cut, lambda _: None) for name in names])
    while len(line.encode()) >= MAX_LINE:
        cut, name = next(steps)
        fields[name] = cut(fields[name])
        left = {key: value for key, value in fields.items() if value is not None}
        line = orjson.dumps({**left, "truncated": True}).decode()
    return line


def _cut(value: Any) -> Any:
    if isinstance(value, list):
        return value[:4]
    return value[:200] if isinstance(value, str) else value


def _fixed_text(record: logging.LogRecord) -> logging.LogRecord:
    """The record without what was put into its text, unless it is the server's own news of its life."""
    news = record.name in _SERVER_NEWS and record.levelno == logging.INFO
    text = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
    text = record.getMessage() if news else text.partition(": ")[0].partition("\n")[0]
    short = logging.LogRecord(record.name, record.levelno, "", 0, text, None, record.exc_info)
    short.created = record.created
    return short
