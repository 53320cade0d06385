"""Finds the plugins: exactly one flow or connector a module, looked for once at start-up."""

import importlib
import inspect
import pkgutil
from types import ModuleType
from typing import TypeVar

Plugin = TypeVar("Plugin")


class RegistryError(Exception):
    """A plugin package holds something that is not one plugin a module."""


def find(package: str, base: type[Plugin]) -> dict[str, type[Plugin]]:
    """The subclass of `base` in each module of `package`, by the module's name.

    Names that begin with an underscore are passed over. A request never imports anything: the name in a URN
    comes from a stranger and is only looked up.

    Raises:
        RegistryError: a module does not import, or defines no such class or more than one; all of them are told.
    """
    found: dict[str, type[Plugin]] = {}
    problems = []
    parent = importlib.import_module(package)
    for info in sorted(pkgutil.iter_modules(parent.__path__), key=lambda info: info.name):
        if info.name.startswith("_"):
            continue
        try:
            found[info.name] = _only(importlib.import_module(f"{package}.{info.name}"), base)
        except RegistryError as error:
            problems.append(f"{package}/{info.name}.py: {error}")
        except Exception as error:  # A plugin is somebody's code: anything may come out of importing it.
            problems.append(f"{package}/{info.name}.py: {type(error).__name__}: {error}")
    if problems:
        raise RegistryError("\n".join(problems))
    return found


def _only(module: ModuleType, base: type[Plugin]) -> type[Plugin]:
    defined = [
        each
        for each in vars(module).values()
        if inspect.isclass(each) and issubclass(each, base) and each.__module__ == module.__name__
    ]
    if len(defined) != 1:
        names = ", ".join(each.__name__ for each in defined) or "none"
        raise RegistryError(f"a module here defines exactly one {base.__name__}; this one defines {names}")
    return defined[0]
