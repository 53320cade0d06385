"""Faults: what is said of each, with what in it, and where."""

import pytest

from app.api.fault import Fault, count_edits, join, shorten, suggest


@pytest.mark.parametrize(
    ("fault", "code", "message"),
    [
        (Fault.missing("k"), "missing_required_parameter", "Missing required parameter: 'P.k'."),
        (Fault.unknown("k", []), "unknown_parameter", "Unknown parameter: 'P.k'."),
        (
            Fault.unknown("ab", ["a", "abc"]),
            "unknown_parameter",
            "Unknown parameter: 'P.ab'. Did you mean 'a' or 'abc'?",
        ),
        (
            Fault.mismatch("a string", 1.5),
            "invalid_type",
            "Invalid type for 'P': expected a string, but got a decimal number instead.",
        ),
        (Fault.unlisted("x", ["a"]), "invalid_value", "Invalid value: 'x'. Value must be 'a'."),
        (Fault.unlisted("x", ["a", "b"]), "invalid_value", "Invalid value: 'x'. Supported values are: 'a' and 'b'."),
        (
            Fault.unlisted("x" * 99, ["a", "b", "c"]),
            "invalid_value",
            "Invalid value: 'xxx...xxx'. Supported values are: 'a', 'b', and 'c'.",
        ),
        (
            Fault.stray("^[a-z]+$"),
            "invalid_value",
            "Invalid 'P': string does not match pattern. Expected a string that matches the pattern '^[a-z]+$'.",
        ),
        (
            Fault.empty("string"),
            "empty_string",
            "Invalid 'P': empty string. Expected a string with minimum length 1, but got an empty string instead.",
        ),
        (
            Fault.empty("array"),
            "empty_array",
            "Invalid 'P': empty array. Expected an array with minimum length 1, but got an empty array instead.",
        ),
        (
            Fault.too_long("string", 600, 512),
            "string_above_max_length",
            "Invalid 'P': string too long. "
            "Expected a string with maximum length 512, but got a string with length 600 instead.",
        ),
        (
            Fault.too_long("array", 129, 128),
            "array_above_max_length",
            "Invalid 'P': array too long. "
            "Expected an array with maximum length 128, but got an array with length 129 instead.",
        ),
        (
            Fault.below("integer", 0, 1),
            "integer_below_min_value",
            "Invalid 'P': integer below minimum value. Expected a value >= 1, but got 0 instead.",
        ),
        (
            Fault.above("decimal", 2.5, 2),
            "decimal_above_max_value",
            "Invalid 'P': decimal above maximum value. Expected a value <= 2, but got 2.5 instead.",
        ),
        (
            Fault.crowded(17, 16),
            "object_above_max_properties",
            "Invalid 'P': too many properties. "
            "Expected an object with at most 16 properties, but got an object with 17 properties instead.",
        ),
        (
            Fault.long_name("k" * 70, 64),
            "property_name_above_max_length",
            "Invalid property name in 'P': 'kkk...kkk' is too long. "
            "Expected a string with maximum length 64, but got a string with length 70 instead.",
        ),
        (
            Fault.too_deep(100),
            "invalid_value",
            "Invalid 'P': object too deep. Expected an object with at most 100 levels of nesting.",
        ),
    ],
)
def test_every_fault_has_its_code_and_its_words(fault: Fault, code: str, message: str) -> None:
    error = fault.within("P").refusal()

    assert (error.code, error.message) == (code, message)
    assert str(error.param).startswith("P")


@pytest.mark.parametrize(
    ("one", "other", "edits"),
    [
        pytest.param("store", "store", 0, id="the same"),
        pytest.param("stor", "store", 1, id="one letter missing"),
        pytest.param("stor", "stop", 1, id="one letter changed"),
        pytest.param("sotre", "store", 2, id="two letters swapped"),
        pytest.param("", "abc", 3, id="all letters missing"),
        pytest.param("kitten", "sitting", 3, id="changes and an insertion"),
    ],
)
def test_edits_are_counted_after_levenshtein(one: str, other: str, edits: int) -> None:
    assert count_edits(one, other) == count_edits(other, one) == edits


@pytest.mark.parametrize(
    ("key", "question"),
    [
        pytest.param("stor", " Did you mean 'stop' or 'store'?", id="equally near: as declared"),
        pytest.param("stre", " Did you mean 'store', 'stop', or 'stream'?", id="nearest first"),
        pytest.param("streaam", " Did you mean 'stream'?", id="a single one"),
        pytest.param("zzz_unknown", "", id="nothing near"),
        pytest.param("s" * 10_000, "", id="far too long"),
    ],
)
def test_names_at_most_two_edits_away_are_suggested(key: str, question: str) -> None:
    assert suggest(key, ["stop", "store", "stream"]) == question


@pytest.mark.parametrize(
    ("words", "text"),
    [
        pytest.param(["a"], "a", id="one"),
        pytest.param(["a", "b"], "a and b", id="two"),
        pytest.param(["a", "b", "c"], "a, b, and c", id="three"),
    ],
)
def test_words_are_joined_as_in_an_english_list(words: list[str], text: str) -> None:
    assert join(words, "and") == text


def test_only_what_is_too_long_to_repeat_is_shortened() -> None:
    assert shorten("k" * 64) == "k" * 64
    assert shorten("abc" + "k" * 60 + "xyz") == "abc...xyz"


@pytest.mark.parametrize(
    ("keys", "param"),
    [
        pytest.param(["name", "function", 0, "tools"], "tools[0].function.name", id="indices and names"),
        pytest.param([".k", "metadata"], "metadata..k", id="a key with a dot"),
        pytest.param([""], None, id="an empty key has no name"),
        pytest.param([], None, id="the body itself"),
    ],
)
def test_a_path_is_written_from_the_outside_in(keys: list[str | int], param: str | None) -> None:
    fault = Fault("invalid_type", lambda path: f"'{path}' is wrong")
    for key in keys:
        fault.within(key)
    refusal = fault.refusal()
    assert (refusal.param, refusal.message) == (param, f"'{param or 'body'}' is wrong")
