"""Templates: only files of the folder, strict about names, and values are never templates."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import TemplateError, TemplateNotFound, TemplateSyntaxError, UndefinedError
from jinja2.exceptions import SecurityError

from app.template import Templates


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "templates"
    (folder / "chat").mkdir(parents=True)
    (tmp_path / "outside.j2").write_text("canary")
    return folder


def render(folder: Path, text: str, /, **values: Any) -> str:
    (folder / "a.j2").write_text(text)
    (message,) = Templates(folder).render("a", **values)
    assert message["role"] == "system"
    content: str = message["content"]
    return content


def test_a_plain_file_is_one_system_message(folder: Path) -> None:
    (folder / "chat" / "system.j2").write_text("Be {{ mood }}.\n")

    assert Templates(folder).render("chat/system", mood="kind") == ({"role": "system", "content": "Be kind."},)


def test_text_is_not_dressed_for_the_web(folder: Path) -> None:
    assert render(folder, "{{ a }} & <b>", a="<i> & 'x'") == "<i> & 'x' & <b>"


@pytest.mark.parametrize("name", ["name", "values", "template"])
def test_a_value_may_have_any_name(folder: Path, name: str) -> None:
    assert render(folder, f"{{{{ {name} }}}}", **{name: "x"}) == "x"


def test_a_template_may_use_others(folder: Path) -> None:
    (folder / "chat" / "tone.j2").write_text("kind")

    assert render(folder, "Be {% include 'chat/tone.j2' %}.") == "Be kind."


@pytest.mark.parametrize(
    "value", ["{{7*7}}", "{% for x in [1] %}{{x}}{% endfor %}", "{# gone #}", "{{ self }}", "\x00", "${7*7}"]
)
def test_values_are_never_rendered(folder: Path, value: str) -> None:
    assert render(folder, "[{{ a }}]", a=value) == f"[{value}]"
    assert render(folder, "{% for x in a %}{{ x }}{% endfor %}", a=[value, {"b": 1}]) == f"{value}{{'b': 1}}"


@given(value=st.text())
def test_any_value_comes_out_as_it_is(value: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert render(tmp_path_factory.getbasetemp(), "{{ a }}", a=value) == value


def test_a_value_that_was_not_given_is_an_error(folder: Path) -> None:
    with pytest.raises(UndefinedError, match="'name' is undefined"):
        render(folder, "Hello {{ name }}")


@pytest.mark.parametrize(
    "text",
    [
        "{{ a.__class__.__mro__ }}",
        "{{ ''.__class__ }}",
        "{{ a.append(1) }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ range(10000000) | list }}",
    ],
)
def test_a_template_does_not_leave_its_sandbox(folder: Path, text: str) -> None:
    with pytest.raises((SecurityError, OverflowError)):
        render(folder, text, a=[])


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("missing", id="missing"),
        pytest.param("", id="nothing"),
        pytest.param("../outside", id="above"),
        pytest.param("chat/../../outside", id="above from within"),
        pytest.param("..\\outside", id="above in another system"),
        pytest.param("%2e%2e/outside", id="above in a URL"),
        pytest.param("link", id="a link out of the folder"),
        pytest.param("linked/outside", id="through a link out of the folder"),
        pytest.param("chat", id="a folder"),
        pytest.param("outside\0", id="with a NUL"),
        pytest.param("a\0/../../outside", id="with a NUL within"),
    ],
)
def test_only_files_of_the_folder_are_templates(folder: Path, name: str) -> None:
    (folder / "link.j2").symlink_to(folder.parent / "outside.j2")
    (folder / "linked").symlink_to(folder.parent)
    templates = Templates(folder)

    with pytest.raises(TemplateNotFound):
        templates.render(name)
    assert name not in templates.names()


def test_no_absolute_path_is_a_template(folder: Path) -> None:
    with pytest.raises(TemplateNotFound):
        Templates(folder).render(str(folder.parent / "outside"))


@pytest.mark.parametrize(
    "text", ["{% include '../outside.j2' %}", "{% include 'link.j2' %}", "{% extends 'link.j2' %}"]
)
def test_a_template_uses_nothing_from_outside(folder: Path, text: str) -> None:
    (folder / "link.j2").symlink_to(folder.parent / "outside.j2")

    with pytest.raises(TemplateNotFound):
        render(folder, text)


def test_templates_are_listed_by_name(folder: Path) -> None:
    for name in ("b.j2", "chat/a.j2", "a.j2", "notes.txt", "chat/.j2.swp"):
        (folder / name).write_text("x")
    (folder / "alias.j2").symlink_to(folder / "a.j2")
    (folder / "loop.j2").symlink_to(folder / "loop.j2")

    assert Templates(folder).names() == ["a", "alias", "b", "chat/a"]
    assert Templates(folder).render("alias") == ({"role": "system", "content": "x"},)


def test_a_folder_that_is_not_there_has_no_templates(tmp_path: Path) -> None:
    templates = Templates(tmp_path / "missing")

    assert (templates.names(), list(templates.problems())) == ([], [])


def test_an_edit_counts_from_the_next_time(folder: Path) -> None:
    path = folder / "a.j2"
    path.write_text("old")
    templates = Templates(folder)
    assert templates.render("a")[0]["content"] == "old"

    path.write_text("new")
    os.utime(path, (0, 0))

    assert templates.render("a")[0]["content"] == "new"


def test_what_does_not_compile_is_told_by_file_and_line(folder: Path) -> None:
    (folder / "good.j2").write_text("{{ never_given }}")
    (folder / "bad.j2").write_text("one\n{% if %}\n")
    (folder / "chat" / "open.j2").write_text("{% for x in y %}\n\n")
    (folder / "latin.j2").write_bytes(b"caf\xe9")

    assert [str(problem) for problem in Templates(folder).problems()] == [
        "bad.j2:2: Expected an expression, got 'end of statement block'",
        "chat/open.j2:1: Unexpected end of template. Jinja was looking for the following tags: 'endfor' or 'else'. "
        "The innermost block that needs to be closed is 'for'.",
        "latin.j2:1: 'utf-8' codec can't decode byte 0xe9 in position 3: unexpected end of data",
    ]


def test_what_does_not_compile_is_not_rendered(folder: Path) -> None:
    with pytest.raises(TemplateSyntaxError):
        render(folder, "{% if %}")
    assert issubclass(TemplateSyntaxError, TemplateError)
