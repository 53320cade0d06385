"""The table: what was measured, as a ratio to the bare stack, beside the budget."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

Rounds = Mapping[str, Sequence[float]]
"""The values of one system by name, one a round."""


class Row(NamedTuple):
    """A line of the table.

    Args:
        label: what was measured, with its unit.
        name: of the value.
        must, aim: the budget for `figure`, None where there is none.
        figure: what the budget is about; the ratio to the bare stack if None.
    """

    label: str
    name: str
    must: float | None = None
    aim: float | None = None
    figure: Callable[[Rounds], float] | None = None


def own(name: str) -> Callable[[Rounds], float]:
    """A figure that is Cadenza's own value, whatever the bare stack has."""
    return lambda rounds: statistics.median(rounds[name])


def against(name: str, other: str) -> Callable[[Rounds], float]:
    """A figure that is one of Cadenza's values as a multiple of another."""
    return lambda rounds: ratio(rounds[name], rounds[other])


def ratio(values: Sequence[float], others: Sequence[float]) -> float:
    """The median of the ratios of each round: what slows a round down slows both sides of it."""
    ratios = [value / other for value, other in zip(values, others, strict=True) if other]
    return statistics.median(ratios) if ratios else 0.0


ROWS = [
    Row("requests per second", "rate"),
    Row("CPU per request, us", "cpu", 0.9, 0.7),
    Row("the same with 1,000 messages, against 1", "long", 10, 5, against("long", "cpu")),
    Row("CPU per streamed token, paced, us", "paced", 1.5, 1.2),
    Row("CPU per streamed token, burst, us", "burst", 2.0, 0.8),
    Row("added time to first token, p50, ms", "first", 1.0, 0.8),
    Row("1,000 streams: stalled", "stalls", 0, 0, own("stalls")),
    Row("1,000 streams: time, to the ideal", "total", 2.0, 1.5, own("total")),
    Row("memory per open stream, kB", "memory", 100, 60, own("memory")),
    Row("Python calls per request", "calls", 1700, 1300, own("calls")),
    Row("start to ready, s", "start", 1.0, None, own("start")),
    Row("idle memory of a worker, MB", "idle", 60, None, own("idle")),
]

_LINE = "{:41}{:>10}{:>10}{:>9}{:>9}{:>8}{:>7}  {}"


def render_table(bare: Rounds, cadenza: Rounds) -> str:
    """The whole table as text."""
    head = _LINE.format("", "bare", "cadenza", "to bare", "counts", "must", "aim", "").rstrip()
    return "\n".join([head, "-" * len(head), *(_render_row(row, bare, cadenza) for row in ROWS)])


def _render_row(row: Row, bare: Rounds, cadenza: Rounds) -> str:
    to_bare = ratio(cadenza[row.name], bare[row.name])
    figure = row.figure(cadenza) if row.figure else to_bare
    mark = ""
    if row.must is not None and figure > row.must:
        mark = "OVER"
    elif row.aim is not None and figure > row.aim:
        mark = "above the aim"
    values = [_render(statistics.median(rounds[row.name])) for rounds in (bare, cadenza)]
    counts = "" if row.must is None else _render(figure)
    return _LINE.format(
        row.label, *values, f"{to_bare:.2f}", counts, _render(row.must), _render(row.aim), mark
    ).rstrip()


def _render(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def render_noise(bare: Rounds) -> str:
    """How far the same system moved from round to round, as CPU per request of the bare stack."""
    values = bare["cpu"]
    return f"{len(values)} rounds; the bare stack's own CPU per request moved by {max(values) / min(values) - 1:.0%}"
