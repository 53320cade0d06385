"""What the kernel says of a process and of all that it started."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_PAGE: int = os.sysconf("SC_PAGE_SIZE")


class _Stat(NamedTuple):
    pid: int
    parent: int
    resident: int


def cpu_seconds(root: int) -> float:
    """Seconds of CPU, user and system, that the process `root` and all below it have used."""
    return sum(_clock(stat.pid) for stat in _tree(root))


def children_memory(root: int) -> int:
    """Bytes of resident memory of all processes below `root`: a server's workers, without their master."""
    return sum(stat.resident for stat in _tree(root) if stat.pid != root)


def _clock(pid: int) -> float:
    """The same sum as in /proc/PID/stat, but in nanoseconds instead of ticks: see clock_getcpuclockid(3)."""
    return time.clock_gettime((~pid << 3) | 2)


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
            fields = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        yield _Stat(int(path.parent.name), int(fields[1]), int(fields[21]) * _PAGE)
