"""What a run's time went into."""

import time


class RunClock:
    """Seconds of a run, of all its attempts that left a checkpoint: `wall`, `train`, `compile`.

    Updates are timed between `resume` and each `lap`; evaluations and saves come before a `resume`.
    """

    def __init__(self) -> None:
        self._started = self._mark = time.monotonic()
        self._now = {"train": 0.0, "compile": 0.0}
        self._before = {"wall": 0.0, "train": 0.0, "compile": 0.0}

    def compiled(self, seconds: float) -> None:
        self._now["compile"] += seconds

    def continues(self, before: dict[str, float]) -> None:
        """before: `seconds` of the attempts that led here."""
        self._before = before

    def resume(self) -> None:
        self._mark = time.monotonic()

    def lap(self) -> float:
        """Seconds of updates since the last lap or `resume`."""
        seconds = time.monotonic() - self._mark
        self._now["train"] += seconds
        self._mark += seconds
        return seconds

    def seconds(self) -> dict[str, float]:
        now = {"wall": time.monotonic() - self._started, **self._now}
        return {name: now[name] + self._before[name] for name in now}
