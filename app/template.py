"""Prompt templates: Jinja files under `templates/`, sandboxed and strict about undefined names."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError, TemplateNotFound, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from app.messages import Message
from app.problem import Problem

SUFFIX = ".j2"


class _Loader(FileSystemLoader):
    """Loads what is in the folder, and no link that leads out of it."""

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
        source, path, fresh = super().get_source(environment, template)
        if not _within(Path(path), Path(self.searchpath[0])):
            raise TemplateNotFound(template)
        return source, path, fresh


class Templates:
    """The templates in a folder, by their path without the suffix: `chat/system` is `chat/system.j2`.

    An edit counts from the next rendering. Values are data: they are never compiled.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._environment = ImmutableSandboxedEnvironment(
            loader=_Loader(folder), undefined=StrictUndefined, keep_trailing_newline=False, autoescape=False
        )

    def names(self) -> list[str]:
        """All there are, sorted. A link that leads out of the folder is none."""
        paths = (path for path in self._folder.rglob(f"*{SUFFIX}") if path.is_file() and _within(path, self._folder))
        return sorted(path.relative_to(self._folder).as_posix().removesuffix(SUFFIX) for path in paths)

    def render(self, name: str, /, **values: Any) -> tuple[Message, ...]:
        """The messages of template `name`: a plain file is one system message.

        Raises:
            jinja2.TemplateError: the file does not exist, does not compile or asks for a value not given.
        """
        text = self._environment.get_template(name + SUFFIX).render(values)
        return ({"role": "system", "content": text},)

    def problems(self) -> Iterator[Problem]:
        """What does not compile, by file and line."""
        for name in self.names():
            try:
                self._environment.get_template(name + SUFFIX)
            except TemplateSyntaxError as error:
                yield Problem(name + SUFFIX, error.lineno, error.message or "is no template")
            except (TemplateError, OSError, UnicodeDecodeError) as error:
                yield Problem(name + SUFFIX, 1, str(error))


def _within(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())
