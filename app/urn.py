"""URNs, the model names of this service: `urn:<namespace>:<key>=<value>(:<key>=<value>)*` (RFC 8141)."""

import re
import unicodedata
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote, unquote_to_bytes

LIMIT = 1024
"""Characters of a URN, as written and in canonical form."""

SELECTORS = ("flow", "preset")

_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_RAW_VALUE = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;@/-]|%[0-9A-Fa-f]{2})*")
_UNENCODED = "!$&'()*+,;"
_FORM = "write urn:<namespace>:<key>=<value>, with more :<key>=<value> behind it"


class UrnError(ValueError):
    """The text is no URN of this service; the message says why in plain words."""


@dataclass(frozen=True)
class Urn:
    """What a model name says: a flow or a preset, and options.

    Two URNs are equal if their canonical forms are, whatever the order of their keys was.

    Args:
        namespace: the service's; its case does not matter.
        pairs: keys and (decoded) values in any order, exactly one of them `flow` or `preset`.

    Raises:
        UrnError: these cannot be written as a URN.
    """

    namespace: str
    pairs: tuple[tuple[str, str], ...]

    def __post_init__(self) -> None:
        pairs = sorted(self.pairs, key=lambda pair: (pair[0] not in SELECTORS, pair[0]))
        object.__setattr__(self, "namespace", self.namespace.lower())
        object.__setattr__(self, "pairs", tuple(pairs))
        _check_keys([key for key, _ in pairs])
        for key, value in pairs:
            _check_value(key, value)
        _check_length(str(self))

    @classmethod
    def parse(cls, text: str, namespace: str = "cadenza") -> Self:
        """The URN that `text` writes.

        Raises:
            UrnError: it is malformed, or its namespace is another.
        """
        _check_length(text)
        if "?+" in text or "?=" in text or "#" in text:
            raise UrnError("r-, q- and f-components (?+, ?=, #) have no meaning here: leave them out")
        scheme, _, rest = text.partition(":")
        found, colon, body = rest.partition(":")
        if scheme.lower() != "urn" or not colon:
            raise UrnError(f"not a URN: {_FORM}")
        if found.lower() != namespace.lower():
            raise UrnError(f"the namespace is not this service's: begin with urn:{namespace}:")
        return cls(namespace, tuple(_parse_pair(part) for part in body.split(":")))

    def __str__(self) -> str:
        pairs = (f"{key}={quote(value, safe=_UNENCODED)}" for key, value in self.pairs)
        return ":".join(("urn", self.namespace, *pairs))

    @property
    def flow(self) -> str | None:
        """The flow's name; None if a preset is named."""
        return dict(self.pairs).get("flow")

    @property
    def preset(self) -> str | None:
        """The preset's name; None if a flow is named."""
        return dict(self.pairs).get("preset")

    @property
    def options(self) -> dict[str, str]:
        """What is said beside the flow or preset, as text."""
        return {key: value for key, value in self.pairs if key not in SELECTORS}

    def covers(self, other: "Urn") -> bool:
        """Whether everything that this URN says is said by `other` too."""
        return self.namespace == other.namespace and set(self.pairs) <= set(other.pairs)


def _check_length(text: str) -> None:
    if len(text) > LIMIT:
        raise UrnError(f"longer than {LIMIT} characters, percent-encoding included")


def _check_keys(keys: list[str]) -> None:
    for key in keys:
        if not _KEY.fullmatch(key):
            raise UrnError("a key begins with a letter and holds only letters, digits, '_', '.' and '-'")
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice is not None:
        raise UrnError(f"the key '{twice}' is given twice")
    if sum(key in SELECTORS for key in keys) != 1:
        raise UrnError("exactly one of the keys 'flow' and 'preset' must be given")


def _check_value(key: str, value: str) -> None:
    # Cc are control characters, Cs halves of surrogate pairs: no UTF-8 can write them.
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in value):
        raise UrnError(f"the value of '{key}' holds a control character")


def _parse_pair(part: str) -> tuple[str, str]:
    key, equals, raw = part.partition("=")
    if not equals:
        raise UrnError(f"a part has no '=': {_FORM}")
    if not _RAW_VALUE.fullmatch(raw):
        raise UrnError("a value holds a character that must be percent-encoded, or a '%' that encodes nothing")
    try:
        return key, unquote_to_bytes(raw).decode("utf-8")
    except UnicodeDecodeError:
        raise UrnError("a value is percent-encoded, but not from UTF-8") from None
