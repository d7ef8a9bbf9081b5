"""Stopping cleanly: a signal sets a flag, the loop saves a checkpoint and leaves."""

import contextlib
import signal
from collections.abc import Iterator


class Preempted(SystemExit):
    """The run was asked to stop and saved its state.

    Its `code` (128 + the signal) is the exit status that a launcher retries on.
    """

    def __init__(self, run_id: str, step: int, code: int):
        super().__init__(code)
        self.message = f"{run_id}: stopped after step {step}, state saved; run again to continue"


class StopRequest:
    """Set by SIGTERM or SIGINT while installed. A second Ctrl-C interrupts at once; a second SIGTERM
    changes nothing, for launchers and kernels send more than one.
    """

    def __init__(self) -> None:
        self.signal: int | None = None

    @contextlib.contextmanager
    def installed(self) -> "Iterator[StopRequest]":
        before = {n: signal.signal(n, self._on_signal) for n in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def __bool__(self) -> bool:
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        return 128 + (self.signal or signal.SIGTERM)

    def _on_signal(self, number: int, frame) -> None:
        self.signal = number
        if number == signal.SIGINT:
            signal.signal(number, signal.default_int_handler)
