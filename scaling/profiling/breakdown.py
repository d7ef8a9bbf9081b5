"""The time of an update, by part of the model and pass."""

import collections
import dataclasses
import re
from pathlib import Path

from scaling.profiling.parts import OTHER, PASSES, Place, places
from scaling.profiling.trace import busy_seconds, read_devices


@dataclasses.dataclass(frozen=True, kw_only=True)
class Breakdown:
    """Seconds of an update under the profiler, of one device. They add up to `update`, with `idle`.

    by_place: where several events overlap, each has its share of the time that any was under way.
    unnamed: the share of the events' time whose instruction is not in the program's text.
    """

    update: float
    idle: float
    by_place: dict[Place, float]
    unnamed: float

    def of_part(self, part: str) -> float:
        return sum(self.by_place.get(Place(part, stage), 0.0) for stage in PASSES)


def breakdown(trace: Path, text: str, n_updates: int) -> Breakdown:
    """trace: of so many updates. text: of the compiled program (HLO).

    Raises `ValueError` for a trace without an event of it.
    """
    known = places(text)
    unknown = Place(OTHER, "forward")
    devices = [
        [span for span in spans if known.get(span.instruction, unknown) is not None]
        for spans in read_devices(trace, re.match(r"HloModule ([\w.\-]+)", text)[1])
    ]
    own: collections.Counter[Place] = collections.Counter()
    unnamed = 0.0
    for span in (span for spans in devices for span in spans):
        own[known.get(span.instruction, unknown)] += span.own
        unnamed += 0.0 if span.instruction in known else span.own
    window = sum(max(s.end for s in spans) - min(s.start for s in spans) for spans in devices)
    busy = sum(map(busy_seconds, devices))
    count, total = len(devices) * n_updates, sum(own.values())
    return Breakdown(
        update=window / count, idle=(window - busy) / count,
        by_place={place: seconds / total * busy / count for place, seconds in own.items()},
        unnamed=unnamed / total,
    )
