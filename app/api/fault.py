"""OpenAI's words for every way in which a value can be wrong, as they were recorded."""

from collections.abc import Callable, Iterable, Sequence
from types import NoneType
from typing import Any

from app.errors import BadRequest

TYPE_NAMES = {
    str: "a string",
    int: "an integer",
    float: "a decimal number",
    bool: "a boolean",
    dict: "an object",
    list: "an array",
    NoneType: "null",
}


class Fault(Exception):
    """A value that is not what its field declares; the kinds are its class methods.

    Knows the value's place only from where it was found: whoever holds the value adds the key.

    Args:
        code: OpenAI's machine-readable code.
        describe: gives the message for the path of the value.
    """

    def __init__(self, code: str, describe: Callable[[str], str]) -> None:
        super().__init__(code)
        self.code = code
        self.describe = describe
        self.keys: list[str | int] = []

    def within(self, key: str | int) -> "Fault":
        """This fault, of what its holder has at `key`."""
        self.keys.append(key)
        return self

    def refusal(self) -> BadRequest:
        """What the client is told."""
        steps = (f"[{key}]" if isinstance(key, int) else f".{key}" for key in reversed(self.keys))
        path = "".join(steps).removeprefix(".")
        return BadRequest(self.describe(path or "body"), param=path or None, code=self.code)

    @classmethod
    def missing(cls, key: str) -> "Fault":
        """A key that must be there is not."""
        fault = cls("missing_required_parameter", lambda path: f"Missing required parameter: '{path}'.")
        return fault.within(key)

    @classmethod
    def unknown(cls, key: str, known: Iterable[str]) -> "Fault":
        """A key that nobody declared; `known` are the names that it might have been meant to be."""
        near = suggest(key, known)
        return cls("unknown_parameter", lambda path: f"Unknown parameter: '{path}'.{near}").within(key)

    @classmethod
    def mismatch(cls, kind: str, value: Any) -> "Fault":
        """A value of another JSON type than `kind`, which has its article: "a string"."""
        got = TYPE_NAMES[type(value)]
        return cls("invalid_type", lambda path: f"Invalid type for '{path}': expected {kind}, but got {got} instead.")

    @classmethod
    def unlisted(cls, value: str, listed: Sequence[str]) -> "Fault":
        """A string that is none of those `listed`."""
        values = join([f"'{choice}'" for choice in listed], "and")
        hint = f"Supported values are: {values}." if len(listed) > 1 else f"Value must be {values}."
        return cls("invalid_value", lambda _: f"Invalid value: '{shorten(value)}'. {hint}")

    @classmethod
    def stray(cls, pattern: str) -> "Fault":
        """A string that does not match `pattern`."""
        return cls(
            "invalid_value",
            lambda path: (
                f"Invalid '{path}': string does not match pattern. "
                f"Expected a string that matches the pattern '{pattern}'."
            ),
        )

    @classmethod
    def empty(cls, noun: str) -> "Fault":
        """A string or an array (`noun`) with nothing in it."""
        name = f"{'an' if noun == 'array' else 'a'} {noun}"
        return cls(
            f"empty_{noun}",
            lambda path: (
                f"Invalid '{path}': empty {noun}. "
                f"Expected {name} with minimum length 1, but got an empty {noun} instead."
            ),
        )

    @classmethod
    def too_long(cls, noun: str, length: int, limit: float) -> "Fault":
        """A string or an array (`noun`) with more than `limit` characters or items."""
        name = f"{'an' if noun == 'array' else 'a'} {noun}"
        return cls(
            f"{noun}_above_max_length",
            lambda path: (
                f"Invalid '{path}': {noun} too long. "
                f"Expected {name} with maximum length {limit}, but got {name} with length {length} instead."
            ),
        )

    @classmethod
    def below(cls, noun: str, value: float, limit: float) -> "Fault":
        """An integer or a decimal (`noun`) less than `limit`."""
        return cls(
            f"{noun}_below_min_value",
            lambda path: (
                f"Invalid '{path}': {noun} below minimum value. Expected a value >= {limit}, but got {value} instead."
            ),
        )

    @classmethod
    def above(cls, noun: str, value: float, limit: float) -> "Fault":
        """An integer or a decimal (`noun`) greater than `limit`."""
        return cls(
            f"{noun}_above_max_value",
            lambda path: (
                f"Invalid '{path}': {noun} above maximum value. Expected a value <= {limit}, but got {value} instead."
            ),
        )

    @classmethod
    def crowded(cls, size: int, limit: float) -> "Fault":
        """An object with more than `limit` properties."""
        return cls(
            "object_above_max_properties",
            lambda path: (
                f"Invalid '{path}': too many properties. Expected an object with at most {limit} properties, "
                f"but got an object with {size} properties instead."
            ),
        )

    @classmethod
    def long_name(cls, key: str, limit: float) -> "Fault":
        """An object with a key of more than `limit` characters."""
        fault = cls(
            "property_name_above_max_length",
            lambda path: (
                f"Invalid property name in '{path.removesuffix(f'.{key}')}': '{shorten(key)}' is too long. "
                f"Expected a string with maximum length {limit}, but got a string with length {len(key)} instead."
            ),
        )
        return fault.within(key)

    @classmethod
    def too_deep(cls, limit: int) -> "Fault":
        """An object with more than `limit` levels; no words were recorded for this, these are made after the others."""
        return cls(
            "invalid_value",
            lambda path: (
                f"Invalid '{path}': object too deep. Expected an object with at most {limit} levels of nesting."
            ),
        )


def suggest(key: str, known: Iterable[str]) -> str:
    """A question that names the `known` names at most two edits away from `key`, nearest first; or nothing."""
    near = sorted(
        (count_edits(key, name), position, f"'{name}'")
        for position, name in enumerate(known)
        if abs(len(key) - len(name)) <= 2
    )
    names = [name for edits, _, name in near if edits <= 2]
    return f" Did you mean {join(names, 'or')}?" if names else ""


def count_edits(one: str, other: str) -> int:
    """The Levenshtein distance."""
    row = list(range(len(other) + 1))
    for i, left in enumerate(one, 1):
        diagonal, row[0] = row[0], i
        for j, right in enumerate(other, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (left != right))
    return row[-1]


def join(words: Sequence[str], conjunction: str) -> str:
    """The words as an English list: `a`, `a or b`, `a, b, or c`."""
    if len(words) > 2:
        words = [", ".join(words[:-1]) + ",", words[-1]]
    return f" {conjunction} ".join(words)


def shorten(text: str) -> str:
    """The text, or its ends if it is longer than OpenAI repeats."""
    return text if len(text) <= 64 else f"{text[:3]}...{text[-3:]}"
