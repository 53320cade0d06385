"""Reading YAML: values, lines, secrets, and every way in which a file can be wrong."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.problem import BROKEN, Problem
from app.secret import SecretStore
from app.yaml_source import Source, read_source


def read(tmp_path: Path, text: str | bytes) -> tuple[Source | None, list[str]]:
    path = tmp_path / "a.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    problems: list[Problem] = []
    source = read_source(path, SecretStore(tmp_path, {"CADENZA_SECRET_OPENAI": "canary"}), problems)
    return source, [str(problem) for problem in problems]


def test_values_are_those_of_yaml_1_2(tmp_path: Path) -> None:
    source, problems = read(
        tmp_path, "a: [yes, true, 0o14, 1.5, ~, 2026-01-01, 12:30]\nb: &x {c: 'd'}\ne: *x\nf: !!str 5\n"
    )

    assert problems == []
    assert source is not None
    assert source.data == {
        "a": ["yes", True, 12, 1.5, None, "2026-01-01", "12:30"],
        "b": {"c": "d"},
        "e": {"c": "d"},
        "f": "5",
    }


def test_an_anchor_may_be_used_again(tmp_path: Path) -> None:
    source, problems = read(tmp_path, "a: &x 1\nb: &x 2\nc: *x\n")

    assert problems == []
    assert source is not None
    assert source.data["c"] == 2


@pytest.mark.parametrize("text", ["", "# nothing\n", "\ufeff", "---\n"])
def test_an_empty_file_says_nothing(tmp_path: Path, text: str) -> None:
    source, problems = read(tmp_path, text)

    assert (source, problems) == (Source("a.yaml"), [])


def test_every_key_and_item_knows_its_line(tmp_path: Path) -> None:
    source, _ = read(tmp_path, "a:\n  b: 1\n  c:\n  - 1\n  - {d: 1,\n     e: 2}\n")

    assert source is not None
    assert source.line(("a", "b")) == 2
    assert source.line(("a", "c", 1)) == 5
    assert source.line(("a", "c", 1, "e")) == 6
    assert source.line(("a", "missing", "x")) == 1
    assert source.line(("nowhere",)) == 1


def test_a_secret_is_looked_up_where_it_is_named(tmp_path: Path) -> None:
    source, problems = read(tmp_path, "a: !secret openai\nb:\n  c: !secret other\n")

    assert source is not None
    assert source.data["a"].reveal() == "canary"
    assert source.data["b"] == {"c": BROKEN}
    assert problems[0].startswith(f"a.yaml:3: !secret other: {tmp_path / 'other'}: is missing; write")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("a: 1\nb: [1,\n", "2: is no YAML: ", id="open list"),
        pytest.param("a:\n\tb: 1\n", "2: is no YAML: a tab; indent with spaces", id="tab"),
        pytest.param("a: 1\na b\n", "2: is no YAML: could not find expected", id="no colon"),
        pytest.param("a: *nope", "1: is no YAML: found undefined alias", id="alias"),
        pytest.param("a: 1\n---\nb: 2\n", "2: is no YAML: but found another document", id="two documents"),
        pytest.param("a: 1\nb: \x07\n", "2: holds a control character", id="control character"),
        pytest.param(b"a: 1\nb: \xff\n", "2: is not UTF-8 text", id="not UTF-8"),
        pytest.param("a: &x [*x]", "1: an alias holds itself", id="endless"),
        pytest.param("[" * 3000, "1: is no YAML that can be understood", id="deep"),
        pytest.param("a: 1\nb: 'x\n\nc: 1", "2: is no YAML: found unexpected end of stream", id="open quote"),
        pytest.param("%YAML 9.9\n---\na: 1", "1: is no YAML: found incompatible YAML", id="another YAML"),
        pytest.param("---\n%YAML 9.9\na: 1", "1: is no YAML that can be understood", id="misplaced directive"),
        pytest.param("\n- a\n", "2: the top must be a mapping", id="list on top"),
        pytest.param("text", "1: the top must be a mapping", id="text on top"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_with_its_line(tmp_path: Path, text: str | bytes, problem: str) -> None:
    source, problems = read(tmp_path, text)

    assert source is None
    assert len(problems) == 1
    assert problems[0].startswith(f"a.yaml:{problem}")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("a: 1\nb: 2\na: 3", "3: the key 'a' is given twice, first in line 1; remove one", id="duplicate"),
        pytest.param("a: {b: 1,\n b: 2}", "2: the key 'b' is given twice, first in line 1; remove one", id="nested"),
        pytest.param("404: x", "1: a key must be text", id="number as key"),
        pytest.param("? [a]\n: x", "1: a key must be text", id="list as key"),
        pytest.param("a: &x {b: 1}\nc:\n  <<: *x", "3: a key must be text", id="merge"),
        pytest.param("a: 1\nb: !foo x", "2: the tag !foo is not allowed here; the only one is !secret", id="tag"),
        pytest.param("a: !!python/object x", "1: the tag !!python/object is not allowed", id="Python tag"),
        pytest.param("a: !foo {b: 1}", "1: the tag !foo is not allowed", id="tag of a mapping"),
        pytest.param("a: !secret [x]", "1: the tag !secret is not allowed here; the only one is", id="secret list"),
        pytest.param("a: !!map x", "1: the tag !!map is not allowed", id="text as mapping"),
        pytest.param("a: !!float ''", "1: the value is no float", id="empty number"),
        pytest.param("a: !!int x", "1: the value is no int", id="no number"),
        pytest.param("a: !!bool x", "1: the value is no bool", id="no boolean"),
        pytest.param("a: !secret", "1: !secret : ", id="nameless secret"),
        pytest.param("a: sk-abcdefgh1234", "1: holds what looks like a key; write it to a file", id="key"),
        pytest.param("# sk-abcdefgh1234\na: 1", "1: holds what looks like a key", id="key in a comment"),
    ],
)
def test_a_wrong_part_is_told_and_the_rest_is_read(tmp_path: Path, text: str, problem: str) -> None:
    source, problems = read(tmp_path, text + "\nlast: 1\n")

    assert len(problems) == 1
    assert problems[0].startswith(f"a.yaml:{problem}")
    assert source is not None
    assert source.data["last"] == 1


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    problems: list[Problem] = []

    assert read_source(tmp_path, SecretStore(tmp_path, {}), problems) is None
    assert problems == [Problem(tmp_path.name, 1, "cannot be read: Is a directory")]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text("ab01 :-[]{},&*!#|>'\"%?\n\t~<.\\\u2028"))
def test_any_text_is_read_or_refused_with_a_problem(tmp_path: Path, text: str) -> None:
    source, problems = read(tmp_path, text)

    assert source is not None or problems
