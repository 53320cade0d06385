"""Problems: what looks like a key, which names are near, marshmallow's messages in plain words."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import Schema, ValidationError, fields, validate

from app.problem import BROKEN, ConfigError, Problem, explain, label, reveals_key, suggest
from app.secret import Secret

BODY = "Ab3" * 8


class Inner(Schema):
    """A schema in another."""

    connect = fields.Float()
    idle = fields.Float(data_key="silence")


class Outer(Schema):
    """One field of each kind."""

    model = fields.String(required=True)
    count = fields.Integer(validate=validate.Range(1, 5))
    flag = fields.Boolean()
    timeout = fields.Nested(Inner)
    names = fields.List(fields.String())
    inners = fields.List(fields.Nested(Inner))
    headers = fields.Dict(fields.String(), fields.String())
    table = fields.Dict(values=fields.Nested(Inner))
    odd = fields.Raw(validate=lambda _: _refuse({"deep": {"deeper": ["Bad."]}}))


def _refuse(messages: Any) -> None:
    raise ValidationError(messages)


def explained(value: Any, place: tuple[str | int, ...] = ()) -> list[tuple[tuple[str | int, ...], str]]:
    schema = Outer()
    with pytest.raises(ValidationError) as caught:
        schema.load(value)
    return list(explain(caught.value.messages, schema, value, place))


@pytest.mark.parametrize(
    ("value", "place", "message"),
    [
        pytest.param({}, ("model",), "model: is required, and missing", id="missing"),
        pytest.param({"model": 5}, ("model",), "model: must be text; put it in quotes", id="text"),
        pytest.param({"model": None}, ("model",), "model: is empty; give it a value, or leave the key out", id="null"),
        pytest.param({"model": "m", "count": "x"}, ("count",), "count: must be a whole number", id="whole number"),
        pytest.param(
            {"model": "m", "count": 9},
            ("count",),
            "count: Must be greater than or equal to 1 and less than or equal to 5",
            id="range",
        ),
        pytest.param({"model": "m", "flag": "x"}, ("flag",), "flag: must be true or false", id="boolean"),
        pytest.param(
            {"model": "m", "timeout": 5}, ("timeout",), "timeout: must be a mapping: {key: value}", id="nested"
        ),
        pytest.param({"model": "m", "names": "a"}, ("names",), "names: must be a list: [one, two]", id="list"),
        pytest.param(
            {"model": "m", "names": ["a", 1]}, ("names", 1), "names[1]: must be text; put it in quotes", id="item"
        ),
        pytest.param(
            {"model": "m", "headers": {"a": 1}},
            ("headers", "a"),
            "headers.a: must be text; put it in quotes",
            id="value",
        ),
        pytest.param(
            {"model": "m", "modle": 1},
            ("modle",),
            "unknown key 'modle'; did you mean 'model'? "
            "known: count, flag, headers, inners, model, names, odd, table, timeout",
            id="unknown",
        ),
        pytest.param(
            {"model": "m", "timeout": {"conect": 1}},
            ("timeout", "conect"),
            "timeout: unknown key 'conect'; did you mean 'connect'? known: connect, silence",
            id="unknown in nested",
        ),
        pytest.param(
            {"model": "m", "inners": [{}, {"silense": 1}]},
            ("inners", 1, "silense"),
            "inners[1]: unknown key 'silense'; did you mean 'silence'? known: connect, silence",
            id="unknown in a list",
        ),
        pytest.param(
            {"model": "m", "table": {"a": {"silence": "x"}}},
            ("table", "a", "silence"),
            "table.a.silence: must be a number",
            id="nested in a mapping",
        ),
        pytest.param({"model": "m", "odd": 1}, ("odd", "deep", "deeper"), "odd.deep.deeper: Bad", id="a field's own"),
        pytest.param(
            {"model": Secret("x")}, ("model",), "model: no secret is expected here; write the value itself", id="secret"
        ),
    ],
)
def test_marshmallows_messages_become_plain_words_with_a_place(
    value: Any, place: tuple[str | int, ...], message: str
) -> None:
    assert explained(value) == [(place, message)]


def test_the_place_of_the_whole_stands_before_the_place_in_it() -> None:
    assert explained({}, ("main", 0)) == [(("main", 0, "model"), "main[0].model: is required, and missing")]
    assert explained({"model": "m", "x": 1}, ("main",))[0][1].startswith("main: unknown key 'x'; known: ")


def test_a_schema_refused_as_a_whole_is_told_at_its_place() -> None:
    assert explained("text", ("main",)) == [(("main",), "main: must be a mapping: {key: value}")]


def test_what_is_broken_already_is_not_told_again() -> None:
    assert explained({"model": BROKEN}) == []


def test_the_top_has_no_label() -> None:
    assert label(()) == ""


def test_the_nearest_name_is_suggested_if_one_is_near() -> None:
    assert suggest("mian", ["local", "main"]) == "did you mean 'main'? known: local, main"
    assert suggest("x", ["local", "main"]) == "known: local, main"
    assert suggest("x", []) == "known: none"


KEYS = [
    f"sk-{BODY}",
    f"sk-proj-{BODY}",
    f"sk-ant-api03-{BODY}",
    f"sk_live_{BODY}",
    f"gsk_{BODY}",
    f"xai-{BODY}",
    f"AIza{BODY}",
    "AKIA" + BODY.upper(),
    f"ghp_{BODY}",
    f"hf_{BODY}",
    f"Bearer {BODY}",
    f"bearer {'x' * 24}",
    f"eyJ{BODY}.eyJ{BODY}.{BODY}",
    "-----BEGIN RSA PRIVATE KEY-----",
    "-----BEGIN PRIVATE KEY-----",
]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("around", ["{}", "key: {}", "'{}'", "# {} here", "https://x.org/?key={}&b"])
def test_what_looks_like_a_key_is_found_wherever_it_is(key: str, around: str) -> None:
    assert reveals_key(around.format(key))


@pytest.mark.parametrize(
    "text",
    [
        "key: !secret openai",
        "ask-me-anything-you-like",
        "task-force-of-twelve",
        "# Bearer authentication is used",
        "model: gpt-5-mini",
        "url: https://api.openai.com/v1",
        "namespace: xai-eu",
        "https://generativelanguage.googleapis.com/v1beta/openai",
    ],
)
def test_plain_configuration_does_not_look_like_a_key(text: str) -> None:
    assert not reveals_key(text)


def test_problems_are_sorted_by_file_and_line_and_told_once() -> None:
    problems = [
        Problem("b.yaml", 1, "x"),
        Problem("a.yaml", 10, "y"),
        Problem("a.yaml", 9, "z"),
        Problem("b.yaml", 1, "x"),
    ]

    assert str(ConfigError(problems)) == "a.yaml:9: z\na.yaml:10: y\nb.yaml:1: x"


@given(st.sampled_from(KEYS), st.text("'\"(:=x", max_size=3), st.text("'\"),.:%$", max_size=3))
def test_a_key_is_taken_out_of_messages(key: str, before: str, after: str) -> None:
    shown = str(ConfigError([Problem("a.yaml", 1, f"unknown key {before}{key}{after} here")]))

    assert "***" in shown or "x" in before
    assert "***" not in shown or BODY not in shown
