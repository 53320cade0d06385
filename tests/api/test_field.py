"""Declared fields: what they let pass, and what they say of the rest."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.fault import Fault
from app.api.field import (
    DEPTH,
    Array,
    Boolean,
    Choice,
    Field,
    Free,
    Integer,
    Map,
    Number,
    Object,
    OneOf,
    RequestSchema,
    Tagged,
    Text,
)
from app.errors import BadRequest

SIZE = Object({"width": Integer(required=True), "unit": Choice("px", "em")})

SHAPE = Tagged(
    "type",
    {
        "circle": Object({"type": Text(), "radius": Number(minimum=0, required=True)}),
        "square": Object({"type": Text(), "size": SIZE}, lenient=True),
    },
)

FIELDS: dict[str, Field] = {
    "text": Text(),
    "name": Text(empty=False, max_length=5, pattern="^[a-z]+$"),
    "integer": Integer(minimum=1, maximum=8),
    "number": Number(minimum=0, maximum=2),
    "boolean": Boolean(),
    "choice": Choice("a", "b", "c"),
    "only": Choice("a"),
    "texts": Array(Text(max_length=3), empty=False, max_length=4),
    "integers": Array(Integer()),
    "objects": Array(SIZE),
    "definitions": Array(SIZE, kind="an array of definitions"),
    "size": SIZE,
    "shape": SHAPE,
    "either": OneOf(Text(), Array(SIZE)),
    "mode": OneOf(Choice("none", "auto"), SIZE),
    "any": OneOf(Integer(), Text(), Array(Text())),
    "map": Map(Text(max_length=2), max_properties=2, max_key=64, kind="a metadata object"),
    "free": Free(),
}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["type", "size", "width"]), inner),
)


class Sample(RequestSchema):
    """A body with a required field between two others."""

    beta = Integer()
    alpha = Text(required=True)
    gamma = SIZE


def nest(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


def refusal(field: Field, value: Any) -> BadRequest:
    with pytest.raises(Fault) as caught:
        field.check(value)
    return caught.value.within("P").refusal()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("text", "", id="an empty string"),
        pytest.param("name", "abcde", id="a string as long as it may be"),
        pytest.param("integer", 1, id="the minimum"),
        pytest.param("integer", 8, id="the maximum"),
        pytest.param("number", 2, id="an integer where a decimal is expected"),
        pytest.param("number", 0.5, id="a decimal"),
        pytest.param("boolean", False, id="a boolean"),
        pytest.param("choice", "c", id="a listed value"),
        pytest.param("texts", ["a", "b", "c", "d"], id="an array as long as it may be"),
        pytest.param("integers", [], id="an empty array"),
        pytest.param("size", {"width": 1, "unit": "em"}, id="an object"),
        pytest.param("shape", {"type": "circle", "radius": 1.5}, id="a tagged object"),
        pytest.param("either", "text", id="one of two: the first"),
        pytest.param("either", [{"width": 1}], id="one of two: the second"),
        pytest.param("map", {"k" * 64: "vv"}, id="a map"),
        pytest.param("free", {"type": "object", "properties": {"a": [1, None]}}, id="an object of any shape"),
        pytest.param("free", nest(DEPTH), id="an object as deep as it may be"),
    ],
)
def test_a_value_within_its_limits_passes_as_it_is(name: str, value: Any) -> None:
    assert FIELDS[name].check(value) == value


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("text", 7, "a string, but got an integer"),
        ("text", None, "a string, but got null"),
        ("integer", 1.0, "an integer, but got a decimal number"),
        ("integer", True, "an integer, but got a boolean"),
        ("number", "hot", "a decimal, but got a string"),
        ("number", False, "a decimal, but got a boolean"),
        ("boolean", 1, "a boolean, but got an integer"),
        ("choice", {}, "one of 'a', 'b', or 'c', but got an object"),
        ("texts", "a", "an array of strings, but got a string"),
        ("integers", {}, "an array of integers, but got an object"),
        ("objects", {}, "an array of objects, but got an object"),
        ("definitions", "x", "an array of definitions, but got a string"),
        ("size", [], "an object, but got an array"),
        ("shape", "x", "an object, but got a string"),
        ("either", 7, "one of a string or array of objects, but got an integer"),
        ("mode", 7, "one of one of 'none' or 'auto' or object, but got an integer"),
        ("any", {}, "one of an integer, string, or array of strings, but got an object"),
        ("map", "x", "a metadata object, but got a string"),
        ("free", [], "an object, but got an array"),
    ],
)
def test_another_type_is_refused_in_json_words(name: str, value: Any, words: str) -> None:
    error = refusal(FIELDS[name], value)
    assert (error.code, error.param) == ("invalid_type", "P")
    assert error.message == f"Invalid type for 'P': expected {words} instead."


@pytest.mark.parametrize(
    ("name", "value", "code", "param"),
    [
        pytest.param("name", "", "empty_string", "P", id="empty string"),
        pytest.param("name", "abcdef", "string_above_max_length", "P", id="string too long"),
        pytest.param("name", "ab\n", "invalid_value", "P", id="a pattern holds to the very end"),
        pytest.param("integer", 0, "integer_below_min_value", "P", id="integer too small"),
        pytest.param("integer", 9, "integer_above_max_value", "P", id="integer too large"),
        pytest.param("number", -0.1, "decimal_below_min_value", "P", id="decimal too small"),
        pytest.param("number", 3, "decimal_above_max_value", "P", id="decimal too large"),
        pytest.param("number", math.nan, "decimal_below_min_value", "P", id="no number at all"),
        pytest.param("choice", "x", "invalid_value", "P", id="value not listed"),
        pytest.param("texts", [], "empty_array", "P", id="empty array"),
        pytest.param("texts", ["a"] * 5, "array_above_max_length", "P", id="array too long"),
        pytest.param("texts", ["a", 7], "invalid_type", "P[1]", id="an item"),
        pytest.param("objects", [{"width": 1}, {"width": "x"}], "invalid_type", "P[1].width", id="inside an item"),
        pytest.param("size", {"zzz": 1}, "missing_required_parameter", "P.width", id="missing before unknown"),
        pytest.param("size", {"width": None}, "invalid_type", "P.width", id="null where something is required"),
        pytest.param("size", {"width": "x", "zzz": 1}, "unknown_parameter", "P.zzz", id="unknown before wrong"),
        pytest.param("shape", {}, "missing_required_parameter", "P.type", id="no tag"),
        pytest.param("shape", {"type": ["circle"]}, "invalid_type", "P.type", id="tag of another type"),
        pytest.param("shape", {"type": "line"}, "invalid_value", "P.type", id="unknown tag"),
        pytest.param("shape", {"type": "circle", "radius": -1}, "decimal_below_min_value", "P.radius", id="tagged"),
        pytest.param("either", [7], "invalid_type", "P[0]", id="inside one of two"),
        pytest.param("map", {"a": "", "b": "", "c": ""}, "object_above_max_properties", "P", id="too many properties"),
        pytest.param("map", {"k" * 70: "v"}, "property_name_above_max_length", f"P.{'k' * 70}", id="name too long"),
        pytest.param("map", {"k": "vvv"}, "string_above_max_length", "P.k", id="value of a map"),
        pytest.param("free", nest(DEPTH + 1), "invalid_value", "P", id="object too deep"),
        pytest.param("free", {"a": [[nest(DEPTH)]]}, "invalid_value", "P", id="too deep through arrays"),
    ],
)
def test_a_value_beyond_its_limits_is_refused_at_its_path(name: str, value: Any, code: str, param: str) -> None:
    error = refusal(FIELDS[name], value)

    assert (error.code, error.param) == (code, param)


def test_a_lenient_object_drops_the_keys_that_it_does_not_know() -> None:
    assert SHAPE.check({"type": "square", "colour": "red"}) == {"type": "square"}


def test_null_for_an_optional_field_is_the_same_as_absent() -> None:
    assert SIZE.check({"width": 1, "unit": None}) == {"width": 1}
    assert Sample().parse({"alpha": "x", "beta": None, "gamma": None}) == {"alpha": "x"}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        pytest.param({"zzz": 1, "beta": "x"}, "alpha", id="missing fields first"),
        pytest.param({"beta": "x", "alpha": 1, "zzz": 1, "yyy": 1}, "zzz", id="then the first unknown key"),
        pytest.param({"gamma": 1, "alpha": 1, "beta": "x"}, "beta", id="then fields as they are declared"),
        pytest.param({"gamma": {}, "alpha": "x"}, "gamma.width", id="and what is inside them"),
        pytest.param({"alpha": None}, "alpha", id="null is no value for what is required"),
    ],
)
def test_the_faults_of_a_body_are_reported_in_order(body: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        Sample().parse(body)
    assert caught.value.param == param


def test_a_body_that_is_no_object_is_refused_without_a_param() -> None:
    with pytest.raises(
        BadRequest, match="Invalid type for 'body': expected an object, but got an array instead"
    ) as caught:
        Sample().parse([])
    assert caught.value.param is None


def test_a_field_must_say_how_it_is_checked() -> None:
    with pytest.raises(NotImplementedError):
        Field().check("x")


@given(field=st.sampled_from(list(FIELDS.values())), value=JSON)
def test_any_json_gives_a_value_or_a_fault(field: Field, value: Any) -> None:
    try:
        json.dumps(field.check(value))
    except Fault as fault:
        error = fault.within("P").refusal()
    else:
        return
    assert str(error.param).startswith("P")
