"""What ran on the devices and when, from a trace of JAX's profiler.

XLA's CPU backend and CUPTI put `hlo_op`, the instruction's name in the compiled program, on each event
of it; a TPU has a line of events whose names are the instructions' text.
"""

import dataclasses
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from jax.profiler import ProfileData

TPU_LINE = "XLA Ops"


@dataclasses.dataclass(frozen=True)
class Span:
    """One event. seconds are since the trace began; own: without the events inside it."""

    instruction: str
    start: float
    end: float
    own: float


def read_devices(file: Path, module: str) -> list[list[Span]]:
    """The events of a compiled program, for each device that it ran on. A CPU's devices are one.

    module: the program's name, as XLA has it. Where a trace does not say which program an event is of,
    it is taken to be of this one. Raises `ValueError` for a trace without any.
    """
    host, devices = [], []
    for plane in ProfileData.from_file(str(file)).planes:
        spans = [span for line in plane.lines for span in _spans(line, module)]
        if spans:
            (devices if plane.name.startswith("/device:") else host).append(spans)
    if not devices and not host:
        raise ValueError(f"{file}: no event of {module}")
    return devices or host


def busy_seconds(spans: Iterable[Span]) -> float:
    """For how long at least one of them was under way."""
    total, until = 0.0, float("-inf")
    for span in sorted(spans, key=lambda span: span.start):
        total += max(0.0, span.end - max(span.start, until))
        until = max(until, span.end)
    return total


def _spans(line, module: str) -> list[Span]:
    found = []
    for event in line.events:
        stats = dict(event.stats)
        name = stats.get("hlo_op")
        if name is None and line.name == TPU_LINE:
            name = re.match(r"%?([\w.\-]*)", event.name)[1]
        if name and stats.get("hlo_module", module) == module:
            start = event.start_ns / 1e9
            found.append((start, start + event.duration_ns / 1e9, str(name)))
    return _with_own_time(found)


def _with_own_time(events: Sequence[tuple[float, float, str]]) -> list[Span]:
    """Of one line, where an event that begins within another also ends there."""
    ordered = sorted(events, key=lambda e: (e[0], -e[1]))
    own = [end - start for start, end, _ in ordered]
    around: list[int] = []
    for i, (start, end, _) in enumerate(ordered):
        while around and ordered[around[-1]][1] <= start:
            around.pop()
        if around:
            own[around[-1]] -= min(end, ordered[around[-1]][1]) - start
        around.append(i)
    return [Span(name, start, end, max(0.0, t)) for (start, end, name), t in zip(ordered, own)]
