"""What is wrong with a configuration, in words: in which line, what, and what would be right."""

import difflib
import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple

from marshmallow import Schema, fields

from app.secret import Secret

Place = tuple[str | int, ...]
"""Keys and indices that lead from the top of a file to a value."""

BROKEN = object()
"""Stands where a value was whose problem has been told already."""

_KEY = "|".join(
    (
        r"(?<![A-Za-z0-9])sk-[A-Za-z0-9_-]{6,}",
        r"\b[srp]k_(?:live|test)_?\w*",
        r"\bgsk_\w{6,}",
        r"\bxai-\w{6,}",
        r"\bAIza[\w-]{6,}",
        r"\b(?:AKIA|ASIA)[0-9A-Z]{6,}",
        r"\b(?:gh[opsu]|github_pat)_\w{6,}",
        r"\bhf_[A-Za-z0-9]{6,}",
        r"\b(?i:bearer)\s+(?:(?=\S*\d)\S{6,}|\S{20,})",
        r"\beyJ[\w-]{6,}",
        r"-----BEGIN [A-Z ]*PRIVATE KEY",
    )
)
_LIKE_KEY = re.compile(_KEY)
_AROUND_KEY = re.compile(rf"\S*(?:{_KEY})\S*")

_UNKNOWN = "Unknown field."
_MAPPING = "must be a mapping: {key: value}"
_WORDS = {
    "Missing data for required field.": "is required, and missing",
    "Field may not be null.": "is empty; give it a value, or leave the key out",
    "Not a valid string.": "must be text; put it in quotes",
    "Not a valid integer.": "must be a whole number",
    "Not a valid number.": "must be a number",
    "Not a valid boolean.": "must be true or false",
    "Not a valid list.": "must be a list: [one, two]",
    "Not a valid mapping type.": _MAPPING,
    "Invalid input type.": _MAPPING,
    "Invalid type.": _MAPPING,
    _UNKNOWN: "unknown key",
}


class Problem(NamedTuple):
    """What is wrong in one line (counted from 1) of a file."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


class ConfigError(Exception):
    """A configuration that cannot be used; as text, one problem a line.

    Args:
        problems: all of them; what looks like a key is taken out of their messages.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        hidden = {each._replace(message=_AROUND_KEY.sub("***", each.message)) for each in problems}
        self.problems = sorted(hidden)
        super().__init__("\n".join(map(str, self.problems)))


def reveals_key(text: str) -> bool:
    """Whether a part of `text` looks like an API key, a token or a private key."""
    return _LIKE_KEY.search(text) is not None


def suggest(name: str, known: Collection[str]) -> str:
    """The nearest right name, if one is near, and all of them."""
    near = difflib.get_close_matches(name, known, 1)
    return (f"did you mean '{near[0]}'? " if near else "") + f"known: {', '.join(sorted(known)) or 'none'}"


def label(place: Place) -> str:
    """The place as people write it, with a colon behind it: `main.timeout.connect: `; nothing for the top."""
    text = "".join(f"[{each}]" if isinstance(each, int) else f".{each}" for each in place)
    return f"{text.removeprefix('.')}: " if place else ""


def explain(
    errors: Any, holder: Schema | fields.Field[Any] | None, value: Any, place: Place
) -> Iterator[tuple[Place, str]]:
    """Marshmallow's error messages in words that say what would be right, each with its place.

    Args:
        errors: `ValidationError.messages`, or a part of it.
        holder: the schema or field that refused.
        value: what it refused.
        place: where that is.
    """
    if not isinstance(errors, dict):
        for message in errors:
            if isinstance(message, dict):
                yield from explain(message, holder, value, place)
            elif value is not BROKEN:
                yield place, label(place) + _reword(message, value)
        return
    for key, inner in errors.items():
        below = (*place, key)
        if key == "_schema":
            yield from explain(inner, holder, value, place)
        elif inner == [_UNKNOWN]:
            yield below, f"{label(place)}unknown key '{key}'; {suggest(key, _names(holder))}"
        elif isinstance(holder, fields.Dict):
            for part in inner.values():
                yield from explain(part, holder.value_field, _item(value, key), below)
        else:
            yield from explain(inner, _child(holder, key), _item(value, key), below)


def _reword(message: str, value: Any) -> str:
    if isinstance(value, Secret) and message in _WORDS:
        return "no secret is expected here; write the value itself"
    return _WORDS.get(message, message.removesuffix("."))


def _names(holder: Schema | fields.Field[Any] | None) -> dict[str, fields.Field[Any]]:
    """The fields of a schema, or of the schema nested in a field, by the names that they have in a file."""
    schema = holder.schema if isinstance(holder, fields.Nested) else holder
    if not isinstance(schema, Schema):
        return {}
    return {field.data_key or name: field for name, field in schema.load_fields.items()}


def _child(holder: Schema | fields.Field[Any] | None, key: str) -> fields.Field[Any] | None:
    return holder.inner if isinstance(holder, fields.List) else _names(holder).get(key)


def _item(value: Any, key: str | int) -> Any:
    try:
        return value[key]
    except (LookupError, TypeError):
        return None
