"""Plugins are found once, exactly one a module, and everything that is wrong is told by its file."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.flow import Flow
from app.registry import RegistryError, find

FLOW = "from app.flow import Flow\nclass {name}(Flow):\n    pass\n"
Make = Callable[..., str]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes a package of these modules, and gives its name."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    monkeypatch.syspath_prepend(tmp_path)

    def make(**modules: str) -> str:
        for name, source in {"__init__": "", **modules}.items():
            (folder / f"{name}.py").write_text(source)
        return folder.name

    yield make
    for name in [name for name in sys.modules if name.partition(".")[0] == folder.name]:
        del sys.modules[name]


def test_a_plugin_is_named_after_its_module(make: Make) -> None:
    package = make(chat=FLOW.format(name="Talk"), agent=FLOW.format(name="Agent"))

    found = find(package, Flow)

    assert list(found) == ["agent", "chat"]
    assert {name: each.__name__ for name, each in found.items()} == {"agent": "Agent", "chat": "Talk"}


def test_what_a_module_imports_is_not_its_own(make: Make) -> None:
    package = make(chat=FLOW.format(name="Chat"))
    make(polite=f"from {package}.chat import Chat\nclass Polite(Chat):\n    pass\nsome = 1\nOther = int\n")

    assert list(find(package, Flow)) == ["chat", "polite"]


def test_names_that_begin_with_an_underscore_are_passed_over(make: Make, tmp_path: Path) -> None:
    package = make(_shared="1 / 0", chat=FLOW.format(name="Chat"))
    (tmp_path / "plugins" / "notes.txt").write_text("x")

    assert list(find(package, Flow)) == ["chat"]


def test_an_empty_package_has_no_plugins(make: Make) -> None:
    assert find(make(), Flow) == {}


def test_all_that_is_wrong_is_told_at_once(make: Make) -> None:
    package = make(
        both=FLOW.format(name="One") + FLOW.format(name="Two"),
        broken="1 / 0",
        empty="",
        good=FLOW.format(name="Good"),
        lost="import no_such_module",
        torn="def (",
    )

    with pytest.raises(RegistryError) as caught:
        find(package, Flow)

    assert str(caught.value).splitlines() == [
        f"{package}/both.py: a module here defines exactly one Flow; this one defines One, Two",
        f"{package}/broken.py: ZeroDivisionError: division by zero",
        f"{package}/empty.py: a module here defines exactly one Flow; this one defines none",
        f"{package}/lost.py: ModuleNotFoundError: No module named 'no_such_module'",
        f"{package}/torn.py: SyntaxError: invalid syntax (torn.py, line 1)",
    ]


def test_the_plugins_that_are_there_are_in_order() -> None:
    assert "chat" in find("flows", Flow)
