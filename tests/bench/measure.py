"""What is measured: each function takes a running system and gives values by their names in the table."""

import subprocess
import sys
import time
from collections.abc import Callable, Mapping

from load import Ask, Streams, first_tokens, saturate
from process import children_memory, cpu_seconds
from systems import HERE, Setup, System

Values = Mapping[str, float]
Measurement = Callable[[System, Setup], Values]

WHOLE = Ask()
LONG = Ask(messages=1000)
SHORT_STREAM = Ask(tokens=2)
PACED = Ask(tokens=50, pace=20)
BURST = Ask(tokens=500)
HELD = Ask(tokens=2, pace=1200)
MANY = Ask(tokens=20, pace=100)

STALL = 1.0
"""Seconds of silence in an open stream that count as a stall."""

_MICRO = 1e6
_MEGA = 1e6
_KILO = 1e3


def measure_memory(system: System, setup: Setup) -> Values:
    """Memory of a worker before it has had much to do, and what 200 open streams add."""
    saturate(system.port, SHORT_STREAM, setup.key, 1, 0.1)
    idle = children_memory(system.pid)
    streams = Streams(system.port, HELD, setup.key, 200, 0.002)
    streams.begin()
    opened = children_memory(system.pid)
    streams.finish()
    return {"start": system.start, "idle": idle / _MEGA, "memory": (opened - idle) / 200 / _KILO}


def measure_requests(system: System, setup: Setup) -> Values:
    """Whole answers, as many as can be had."""
    rate, cpu = _saturate(system, setup, WHOLE, 32, 1.2)
    return {"rate": rate, "cpu": cpu * _MICRO}


def measure_messages(system: System, setup: Setup) -> Values:
    """The same with a long conversation in each request."""
    return {"long": _saturate(system, setup, LONG, 32, 1.0)[1] * _MICRO}


def measure_burst(system: System, setup: Setup) -> Values:
    """Streams whose tokens come all at once."""
    return {"burst": _saturate(system, setup, BURST, 8, 0.8)[1] / BURST.tokens * _MICRO}


def measure_paced(system: System, setup: Setup) -> Values:
    """Streams whose tokens come one by one."""
    streams = Streams(system.port, PACED, setup.key, 40, 0.003)
    before = cpu_seconds(system.pid)
    streams.begin()
    streams.finish()
    return {"paced": (cpu_seconds(system.pid) - before) / 40 / PACED.tokens * _MICRO}


def measure_many(system: System, setup: Setup) -> Values:
    """A thousand streams at once, begun within a second."""
    streams = Streams(system.port, MANY, setup.key, 1000, 0.001)
    begun = time.monotonic()
    streams.begin()
    ended = streams.finish()
    total = time.monotonic() - begun
    ideal = 1000 * 0.001 + (MANY.tokens - 1) * MANY.pace / 1000
    return {"stalls": sum(stream.longest > STALL for stream in ended), "total": total / ideal}


def measure_first_token(systems: list[System], upstream: int, setup: Setup) -> dict[str, Values]:
    """What each system adds to the time to the first token; all are asked in turn, one request at a time."""
    ports = [upstream, *(system.port for system in systems)]
    direct, *seconds = first_tokens(ports, SHORT_STREAM, setup.key, 100)
    return {system.name: {"first": (each - direct) * 1e3} for system, each in zip(systems, seconds, strict=True)}


def count_calls(name: str, setup: Setup) -> Values:
    """Python calls per request."""
    command = [sys.executable, str(HERE / "calls.py"), name]
    counted = subprocess.run(command, env=setup.environ, check=True, stdout=subprocess.PIPE, text=True)
    return {"calls": float(counted.stdout)}


def _saturate(system: System, setup: Setup, ask: Ask, connections: int, seconds: float) -> tuple[float, float]:
    """Answers per second and seconds of CPU per answer, after a short time to get warm."""
    saturate(system.port, ask, setup.key, connections, 0.15)
    before, begun = cpu_seconds(system.pid), time.monotonic()
    count = saturate(system.port, ask, setup.key, connections, seconds)
    return count / (time.monotonic() - begun), (cpu_seconds(system.pid) - before) / count
