"""YAML files as plain values that know their lines; every problem is told, none stops the reading of the rest."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from app.problem import BROKEN, Place, Problem, reveals_key
from app.secret import SecretError, SecretStore

_CORE = "tag:yaml.org,2002:"
_TEXT = {f"{_CORE}str", f"{_CORE}timestamp"}
_PLAIN = {f"{_CORE}{kind}" for kind in ("int", "float", "bool", "null")}


@dataclass(frozen=True)
class Source:
    """What a file says.

    Args:
        file: its name.
        data: plain values; `Secret` where the file says `!secret`, `BROKEN` for what cannot be read.
        lines: where each key and item is.
    """

    file: str
    data: Mapping[str, Any] = field(default_factory=dict)
    lines: Mapping[Place, int] = field(default_factory=dict)

    def line(self, place: Place) -> int:
        """The line of `place`, or of the nearest thing around it that there is."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)


def read_source(path: Path, secrets: SecretStore, problems: list[Problem]) -> Source | None:
    """What the file says, one mapping; None if it cannot be told.

    Args:
        path: of the YAML 1.2 file.
        secrets: where `!secret name` is looked up.
        problems: gets what is wrong.
    """
    with warnings.catch_warnings():
        # They quote the file.
        warnings.simplefilter("ignore")
        return _Reader(path.name, secrets, problems).read(path)


class _Reader:
    def __init__(self, file: str, secrets: SecretStore, problems: list[Problem]) -> None:
        self._file = file
        self._secrets = secrets
        self._problems = problems
        self._yaml = YAML(typ="safe", pure=True)
        self._lines: dict[Place, int] = {}

    def read(self, path: Path) -> Source | None:
        text = self._decode(path)
        root = None if text is None else self._compose(text)
        if root is None:
            return None
        try:
            return Source(self._file, self._build_mapping(root, ()), self._lines)
        except RecursionError:
            self._complain(root, "an alias holds itself; write the value out")
            return None

    def _complain(self, at: Node | int, message: str) -> None:
        line = at if isinstance(at, int) else _line(at)
        self._problems.append(Problem(self._file, line, message))

    def _decode(self, path: Path) -> str | None:
        """The file's text, once it has been searched for keys."""
        content = b""
        try:
            content = path.read_bytes()
            text = content.decode("utf-8-sig")
        except OSError as error:
            self._complain(1, f"cannot be read: {error.strerror}")
            return None
        except UnicodeDecodeError as error:
            self._complain(content.count(b"\n", 0, error.start) + 1, "is not UTF-8 text; save it as UTF-8")
            return None
        for number, line in enumerate(text.splitlines(), 1):
            if reveals_key(line):
                self._complain(
                    number, "holds what looks like a key; write it to a file and refer to it as !secret name"
                )
        return text

    def _compose(self, text: str) -> MappingNode | None:
        """The tree of the text, its top a mapping."""
        try:
            root = self._yaml.compose(text)
        except ReaderError as error:
            self._complain(text.count("\n", 0, error.position) + 1, "holds a control character; remove it")
        except MarkedYAMLError as error:
            self._complain(_line_of(error, text), f"is no YAML: {_reword(error)}")
        except (YAMLError, LookupError, ValueError, RecursionError):
            self._complain(1, "is no YAML that can be understood; write it more plainly")
        else:
            if root is None or root.tag == f"{_CORE}null":
                return MappingNode(f"{_CORE}map", [])
            if isinstance(root, MappingNode):
                return root
            self._complain(root, "the top must be a mapping: keys with a colon behind them")
        return None

    def _build_mapping(self, node: Node, place: Place) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode) or key.tag not in _TEXT:
                self._complain(key, "a key must be text; put it in quotes (and << does not work here)")
            elif key.value in result:
                first = self._lines[*place, key.value]
                self._complain(key, f"the key '{key.value}' is given twice, first in line {first}; remove one")
            else:
                self._lines[*place, key.value] = _line(key)
                result[key.value] = self._build(value, (*place, key.value))
        return result

    def _build(self, node: Node, place: Place) -> Any:
        if node.tag == "!secret" and isinstance(node, ScalarNode):
            return self._build_secret(node)
        if node.tag == f"{_CORE}map" and isinstance(node, MappingNode):
            return self._build_mapping(node, place)
        if node.tag == f"{_CORE}seq" and isinstance(node, SequenceNode):
            self._lines.update({(*place, index): _line(item) for index, item in enumerate(node.value)})
            return [self._build(item, (*place, index)) for index, item in enumerate(node.value)]
        return self._build_scalar(node)

    def _build_secret(self, node: ScalarNode) -> Any:
        try:
            return self._secrets.load(node.value)
        except SecretError as error:
            self._complain(node, f"!secret {node.value}: {error}")
            return BROKEN

    def _build_scalar(self, node: Node) -> Any:
        if isinstance(node, ScalarNode) and node.tag in _TEXT:
            return node.value
        if isinstance(node, ScalarNode) and node.tag in _PLAIN:
            try:
                return self._yaml.constructor.construct_object(node)
            except (ValueError, LookupError):
                self._complain(node, f"the value is no {node.tag.removeprefix(_CORE)}")
                return BROKEN
        tag = str(node.tag).replace(_CORE, "!!")
        self._complain(node, f"the tag {tag} is not allowed here; the only one is !secret, with a name behind it")
        return BROKEN


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1


def _line_of(error: MarkedYAMLError, text: str) -> int:
    """The line that is wrong: for what never ends, the one where it begins."""
    endless = "could not find expected" in str(error.problem) or "end of stream" in str(error.problem)
    mark = (None if endless else error.problem_mark) or error.context_mark
    return min(int(mark.line), text.rstrip().count("\n")) + 1


def _reword(error: MarkedYAMLError) -> str:
    problem = str(error.problem or error.context)
    return "a tab; indent with spaces" if "'\\t'" in problem else problem
