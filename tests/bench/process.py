"""What the kernel says of a process and of all that it started."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_TICK: float = os.sysconf("SC_CLK_TCK")
_PAGE: int = os.sysconf("SC_PAGE_SIZE")


class _Stat(NamedTuple):
    pid: int
    parent: int
    seconds: float
    resident: int


def cpu_seconds(root: int) -> float:
    """Seconds of CPU, user and system, that the process `root` and all below it have used."""
    return sum(stat.seconds for stat in _tree(root))


def children_memory(root: int) -> int:
    """Bytes of resident memory of all processes below `root`: a server's workers, without their master."""
    return sum(stat.resident for stat in _tree(root) if stat.pid != root)


def _tree(root: int) -> list[_Stat]:
    stats = list(_stats())
    tree = [stat for stat in stats if stat.pid == root]
    for stat in tree:
        tree += [each for each in stats if each.parent == stat.pid]
    return tree


def _stats() -> Iterator[_Stat]:
    """All processes there are; proc(5) numbers the fields from 1, and what comes after the name begins with 3."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, rest = path.parent.name, path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        yield _Stat(int(pid), int(rest[1]), (int(rest[11]) + int(rest[12])) / _TICK, int(rest[21]) * _PAGE)
