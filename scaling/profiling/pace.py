"""Updates of an experiment, run as training runs them, on rows that nobody has to prepare."""

import contextlib
import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np

from scaling.data import TrainStream
from scaling.data.rows import Rows, row_type
from scaling.experiment import Experiment
from scaling.partitioning import MeshConfig
from scaling.training.program import Program

WARM_CHUNKS = 2
LEAST_CHUNKS = 3
DISTINCT_BATCHES = 16
BOS = 1  # which token opens a document changes no time


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pace:
    """seconds: of an update, the median over chunks. n_updates: timed.

    starved: the share of chunks for which the device waited, done with the one before when the rows of the
        next had been gathered.
    """

    seconds: float
    n_updates: int
    starved: float


@contextlib.contextmanager
def _names_in_cache_key() -> Iterator[None]:
    """A program that was compiled before its parts had these names is not loaded from the cache."""
    option = "jax_compilation_cache_include_metadata_in_key"
    before = getattr(jax.config, option)
    jax.config.update(option, True)
    try:
        yield
    finally:
        jax.config.update(option, before)


class Rehearsal:
    """A compiled experiment and a state that is thrown away; rows are random tokens.

    Batches are gathered by the stream that training reads, and a chunk's metrics are read once the
    next one is sent, as in training. Raises `UserError` as `Program` does. Attributes: program.
    """

    def __init__(self, experiment: Experiment, mesh: MeshConfig):
        self.experiment = experiment
        with _names_in_cache_key():
            self.program = Program(experiment, mesh, BOS)
        shape = DISTINCT_BATCHES * experiment.batch_size, experiment.data.sequence_length + 1
        vocabulary = experiment.model.vocab_size
        tokens = np.random.default_rng(0).integers(0, vocabulary, shape, row_type(vocabulary))
        self._stream = TrainStream(Rows(tokens), seed=experiment.seed, batch_size=experiment.batch_size)
        self._hyperparameters = self.program.hyperparameters(experiment)
        self._state = self.program.init(experiment)
        self._run(WARM_CHUNKS)

    def time(self, seconds: float) -> Pace:
        """For about so long, and `LEAST_CHUNKS` at least."""
        laps, starved = [], 0
        while len(laps) < LEAST_CHUNKS or sum(laps) < seconds:
            more, dry = self._run(LEAST_CHUNKS)
            laps, starved = laps + more, starved + dry
        chunk = self.program.max_chunk
        return Pace(seconds=float(np.median(laps)) / chunk, n_updates=len(laps) * chunk,
                    starved=starved / len(laps))

    def trace(self, folder: Path, n_chunks: int) -> Path:
        """Runs so many chunks under JAX's profiler; the file of what it saw (XSpace, `*.xplane.pb`)."""
        options = jax.profiler.ProfileOptions()
        options.python_tracer_level = 0  # Python's own calls would be most of the file
        with jax.profiler.trace(str(folder), profiler_options=options):
            self._run(n_chunks)
        return max(folder.glob("plugins/profile/*/*.xplane.pb"))

    def _run(self, n_chunks: int) -> tuple[list[float], int]:
        """Seconds of each chunk, and how many of them the device waited for."""
        n = self.program.max_chunk
        laps, starved, behind = [], 0, None
        last = time.perf_counter()
        for i in range(n_chunks + 1):
            ahead = None
            if i < n_chunks:
                rows = self._stream.next_batches(n)
                starved += behind is not None and behind["loss"].is_ready()
                self._state, ahead = self.program.train_chunk(self._state, rows, self._hyperparameters)
            if behind is not None:
                jax.block_until_ready(behind)
                now = time.perf_counter()
                laps.append(now - last)
                last = now
            behind = ahead
        return laps, starved
