"""Declared fields of request bodies.

A field declares type and limits, never a message: the words are the `Fault`'s. `check` gives the value,
cleaned of what is not passed on, or raises a fault that outer fields complete with the path on its way up,
so that nothing is spent on a value that is right.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, fields

from app.api.fault import Fault, join

DEPTH = 100
"""How many levels an object of unknown shape may be nested: less than any JSON encoder gives up at."""


class Field(fields.Field[Any]):
    """What every field has: the JSON types it accepts, and how an error names what is expected.

    Args:
        required: whether its holder must have it. Null is then a value like any other; for an optional
            field it is the same as absent.
    """

    kind: str
    plural = "objects"
    accepts: tuple[type, ...]

    def __init__(self, *, required: bool = False) -> None:
        super().__init__(required=required)

    def check(self, value: Any) -> Any:
        """The value, cleaned. Raises Fault."""
        raise NotImplementedError


class Text(Field):
    """A string; lengths count characters."""

    kind, plural, accepts = "a string", "strings", (str,)

    def __init__(
        self, *, empty: bool = True, max_length: float = math.inf, pattern: str = "", required: bool = False
    ) -> None:
        super().__init__(required=required)
        self.empty = empty
        self.max_length = max_length
        self.pattern = re.compile(pattern) if pattern else None

    def check(self, value: Any) -> str:
        if type(value) is not str:
            raise Fault.mismatch(self.kind, value)
        if not value and not self.empty:
            raise Fault.empty("string")
        if len(value) > self.max_length:
            raise Fault.too_long("string", len(value), self.max_length)
        if self.pattern and not self.pattern.fullmatch(value):
            raise Fault.stray(self.pattern.pattern)
        return value


class Number(Field):
    """A decimal; an integer is one too, a boolean is not."""

    kind, noun = "a decimal", "decimal"
    accepts: tuple[type, ...] = (int, float)

    def __init__(self, *, minimum: float = -math.inf, maximum: float = math.inf, required: bool = False) -> None:
        super().__init__(required=required)
        self.minimum = minimum
        self.maximum = maximum

    def check(self, value: Any) -> Any:
        if type(value) not in self.accepts:
            raise Fault.mismatch(self.kind, value)
        if value > self.maximum:
            raise Fault.above(self.noun, value, self.maximum)
        # Not the same as `value < minimum`: NaN is neither.
        if not value >= self.minimum:
            raise Fault.below(self.noun, value, self.minimum)
        return value


class Integer(Number):
    """A whole number, written as one: 1.0 is a decimal."""

    kind, noun, plural = "an integer", "integer", "integers"
    accepts = (int,)


class Boolean(Field):
    """True or false."""

    kind, accepts = "a boolean", (bool,)

    def check(self, value: Any) -> bool:
        if type(value) is not bool:
            raise Fault.mismatch(self.kind, value)
        return value


class Choice(Field):
    """One of some strings, which errors list in the order given."""

    plural, accepts = "strings", (str,)

    def __init__(self, *values: str, required: bool = False) -> None:
        super().__init__(required=required)
        self.values = values
        self.kind = "one of " + join([f"'{value}'" for value in values], "or")

    def check(self, value: Any) -> str:
        if type(value) is not str:
            raise Fault.mismatch(self.kind, value)
        if value not in self.values:
            raise Fault.unlisted(value, self.values)
        return value


class Array(Field):
    """A list whose items are all of one field. `kind` is given where OpenAI has words of its own for it."""

    accepts = (list,)

    def __init__(
        self, of: Field, *, empty: bool = True, max_length: float = math.inf, kind: str = "", required: bool = False
    ) -> None:
        super().__init__(required=required)
        self.of = of
        self.empty = empty
        self.max_length = max_length
        self.kind = kind or f"an array of {of.plural}"

    def check(self, value: Any) -> list[Any]:
        if type(value) is not list:
            raise Fault.mismatch(self.kind, value)
        if not value and not self.empty:
            raise Fault.empty("array")
        if len(value) > self.max_length:
            raise Fault.too_long("array", len(value), self.max_length)
        checked: list[Any] = []
        try:
            for item in value:
                checked.append(self.of.check(item))
        except Fault as fault:
            fault.within(len(checked))
            raise
        return checked


class Object(Field):
    """An object with known properties.

    Faults come in this order: properties that are missing, keys that are unknown (the first in the body),
    values in the order in which `properties` declares them. A `lenient` object drops unknown keys instead.
    """

    kind, accepts = "an object", (dict,)

    def __init__(self, properties: Mapping[str, Any], *, lenient: bool = False, required: bool = False) -> None:
        super().__init__(required=required)
        self.properties = dict(properties)
        self.needed = [key for key, field in properties.items() if field.required]
        self.lenient = lenient

    def check(self, value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise Fault.mismatch(self.kind, value)
        for key in self.needed:
            if key not in value:
                raise Fault.missing(key)
        if not self.lenient:
            self._refuse_unknown(value)
        checked: dict[str, Any] = {}
        key = ""
        try:
            for key, field in self.properties.items():
                item = value.get(key)
                if item is not None or field.required:
                    checked[key] = field.check(item)
        except Fault as fault:
            fault.within(key)
            raise
        return checked

    def _refuse_unknown(self, value: dict[str, Any]) -> None:
        for key in value:
            if key not in self.properties:
                raise Fault.unknown(key, [name for name in self.properties if name not in value])


class Tagged(Field):
    """An object that one of its own keys says the shape of; every shape declares that key too."""

    kind, accepts = "an object", (dict,)

    def __init__(self, tag: str, shapes: Mapping[str, Object], *, required: bool = False) -> None:
        super().__init__(required=required)
        self.tag = tag
        self.shapes = dict(shapes)
        self.untagged = Object({tag: Choice(*shapes, required=True)}, lenient=True)

    def check(self, value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise Fault.mismatch(self.kind, value)
        name = value.get(self.tag)
        return (self.shapes.get(name, self.untagged) if type(name) is str else self.untagged).check(value)


class OneOf(Field):
    """A value of one of several fields, which its JSON type tells apart."""

    def __init__(self, *options: Field, required: bool = False) -> None:
        super().__init__(required=required)
        self.options = {accepted: option for option in options for accepted in option.accepts}
        self.accepts = tuple(self.options)
        first, *others = (option.kind for option in options)
        self.kind = "one of " + join([first, *(re.sub("^an? ", "", kind) for kind in others)], "or")

    def check(self, value: Any) -> Any:
        option = self.options.get(type(value))
        if option is None:
            raise Fault.mismatch(self.kind, value)
        return option.check(value)


class Map(Field):
    """An object with keys of the client's choice, and values that are all of one field."""

    accepts = (dict,)

    def __init__(
        self, of: Field, *, max_properties: float = math.inf, max_key: float = math.inf, kind: str = "an object"
    ) -> None:
        super().__init__()
        self.of = of
        self.max_properties = max_properties
        self.max_key = max_key
        self.kind = kind

    def check(self, value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise Fault.mismatch(self.kind, value)
        if len(value) > self.max_properties:
            raise Fault.crowded(len(value), self.max_properties)
        for key, item in value.items():
            if len(key) > self.max_key:
                raise Fault.long_name(key, self.max_key)
            try:
                self.of.check(item)
            except Fault as fault:
                fault.within(key)
                raise
        return value


class Free(Field):
    """An object of any shape, such as a JSON Schema; only its depth is limited."""

    kind, accepts = "an object", (dict,)

    def check(self, value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise Fault.mismatch(self.kind, value)
        level: list[Any] = [value]
        for _ in range(DEPTH):
            level = [
                item
                for holder in level
                for item in (holder.values() if type(holder) is dict else holder)
                if type(item) is dict or type(item) is list
            ]
            if not level:
                return value
        raise Fault.too_deep(DEPTH)


class RequestSchema(Schema):
    """The body of a request: the fields that a subclass declares, in the order in which faults are reported.

    Built once and used for every request.
    """

    def __init__(self) -> None:
        super().__init__()
        self.body = Object(self.fields)

    def parse(self, body: Any) -> dict[str, Any]:
        """What `body` gives and is not null, checked and cleaned. Raises BadRequest."""
        try:
            return self.body.check(body)
        except Fault as fault:
            raise fault.refusal() from None
