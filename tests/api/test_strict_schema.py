"""JSON Schemas for structured outputs: what is wrong with them, and where."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.strict_schema import root_flaw, strict_flaw

GOOD = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}

KEYWORDS = ["type", "properties", "required", "additionalProperties", "items", "anyOf", "$defs"]

SCHEMAS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["object", "array", "a"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(KEYWORDS) | st.text(max_size=2), inner),
)


def within(**schema: Any) -> dict[str, Any]:
    """A good schema whose only property is `schema`."""
    return {**GOOD, "properties": {"a": schema}}


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param(GOOD, id="all properties required, none besides"),
        pytest.param({"type": "object", "additionalProperties": False}, id="no properties"),
        pytest.param(within(anyOf=[{"$ref": "#/$defs/x"}, {"type": "null"}]), id="a reference"),
        pytest.param(within(type="array", items=GOOD), id="good items"),
        pytest.param(within(items=[7], anyOf="x", properties="x"), id="keywords of a wrong type are not looked into"),
    ],
)
def test_a_good_schema_has_no_flaw(schema: dict[str, Any]) -> None:
    assert strict_flaw(schema) is None


@pytest.mark.parametrize(
    ("schema", "got"),
    [
        pytest.param({"properties": {}}, "None", id="no type"),
        pytest.param({"type": "array"}, "array", id="an array"),
        pytest.param({"type": ["object"]}, "['object']", id="a list of types"),
    ],
)
def test_the_root_must_be_an_object(schema: dict[str, Any], got: str) -> None:
    words = f"""schema must be a JSON Schema of 'type: "object"', got 'type: "{got}"'."""
    assert root_flaw(schema) == strict_flaw(schema) == words


@pytest.mark.parametrize(
    ("schema", "context", "words"),
    [
        pytest.param({"type": "object"}, "()", "'additionalProperties'", id="additional properties unsaid"),
        pytest.param({**GOOD, "additionalProperties": {}}, "()", "'additionalProperties'", id="additional properties"),
        pytest.param({**GOOD, "required": []}, "()", "Missing 'a'.", id="a property not required"),
        pytest.param({**GOOD, "required": "a"}, "()", "Missing 'a'.", id="required is no array"),
        pytest.param(
            {**GOOD, "required": ["a", "b"]}, "()", "Extra required key 'b' supplied.", id="too many required"
        ),
        pytest.param(within(type="object"), "('properties', 'a')", "'additionalProperties'", id="in a property"),
        pytest.param(
            within(type=["object", "null"]), "('properties', 'a')", "'additionalProperties'", id="in a list of types"
        ),
        pytest.param(within(properties={"b": {}}), "('properties', 'a')", "'additionalProperties'", id="type unsaid"),
        pytest.param(
            within(type="array", items={**GOOD, "required": []}),
            "('properties', 'a', 'items')",
            "Missing 'a'.",
            id="in items",
        ),
        pytest.param(
            within(anyOf=[{"type": "null"}, {"type": "object"}]),
            "('properties', 'a', 'anyOf', '1')",
            "'additionalProperties'",
            id="in a union",
        ),
        pytest.param(
            {**GOOD, "$defs": {"x": {"type": "object"}}},
            "('$defs', 'x')",
            "'additionalProperties'",
            id="in a definition",
        ),
    ],
)
def test_a_flaw_is_told_with_its_place(schema: dict[str, Any], context: str, words: str) -> None:
    flaw = strict_flaw(schema)
    assert flaw is not None
    assert flaw.startswith(f"In context={context}, ")
    assert words in flaw


def test_depth_is_no_trouble() -> None:
    schema = GOOD
    for _ in range(900):
        schema = within(**schema)
    assert strict_flaw(schema) is None


@given(schema=st.dictionaries(st.sampled_from(KEYWORDS), SCHEMAS))
def test_any_object_has_a_flaw_or_none(schema: dict[str, Any]) -> None:
    assert isinstance(strict_flaw(schema), str | None)
