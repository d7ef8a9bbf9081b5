"""The order in which training sees its rows: seeded, sharded, resumable."""

from typing import Any

import grain
import numpy as np

from scaling.data.rows import ArrayRows, TrainRows
from scaling.errors import UserError

PREFETCHED_BATCHES = 64
READ_THREADS = 4


class TrainStream:
    """Batches of rows without end: every epoch visits every row once, in an order of its own.

    The order is grain's and depends on `seed` and the number of rows only. Process p of P takes
    rows [p B/P, (p+1) B/P) of each global batch of B, so that the shards, concatenated by
    process, are the batches of a single process. Rows held in memory are gathered in that
    order; others are read ahead by grain's threads. Both give the same batches and share one
    state, which also does not depend on the number of processes.
    """

    def __init__(
        self,
        rows: TrainRows,
        *,
        seed: int,
        batch_size: int,
        process_index: int = 0,
        process_count: int = 1,
    ) -> None:
        """batch_size: of all processes together. Raises `UserError` if they cannot share it."""
        if batch_size < 1 or batch_size % process_count:
            raise UserError(
                f"batch size {batch_size}: expected a positive multiple of the"
                f" {process_count} processes that share it"
            )
        if not 0 <= seed < 2**32:  # grain's limit
            raise UserError(f"data seed {seed}: expected an integer in 0..{2**32 - 1}")
        if len(rows) == 0:
            raise ValueError("no rows to train on")
        self._array = rows.array if isinstance(rows, ArrayRows) else None
        # over an array, grain only says which rows come next
        source = grain.MapDataset.source(rows if self._array is None else range(len(rows)))
        batches = source.seed(seed).shuffle().repeat().batch(batch_size // process_count)
        self._batches = batches[process_index::process_count]
        self._iterator: grain.DatasetIterator | None = None
        self._next = 0
        self._identity = {"n_rows": len(rows), "batch_size": batch_size, "seed": seed}

    @property
    def epochs(self) -> float:
        """Rows drawn so far, by all processes, over the rows there are."""
        return self._next * self._identity["batch_size"] / self._identity["n_rows"]

    def next_batches(self, k: int) -> np.ndarray:
        """The next k batches: int32 [k, batch_size / process_count, sequence_length + 1]."""
        if self._array is not None:
            order = np.stack([self._batches[i] for i in range(self._next, self._next + k)])
            batches = self._array[order]
        else:
            if self._iterator is None:
                self._iterator = self._reader()
            batches = np.stack([next(self._iterator) for _ in range(k)])
        self._next += k
        return batches

    def get_state(self) -> dict[str, Any]:
        """JSON values from which `set_state` continues with the very next batch."""
        return {"next_index": self._next, **self._identity}

    def set_state(self, state: dict[str, Any]) -> None:
        """Raises `UserError` if `state` belongs to other rows, batches or seed."""
        for name, value in self._identity.items():
            if state[name] != value:
                raise UserError(
                    f"cannot continue: the saved data order has {name} = {state[name]},"
                    f" this run has {value}"
                )
        self._next = state["next_index"]
        self._iterator = None

    def _reader(self) -> grain.DatasetIterator:
        options = grain.ReadOptions(
            num_threads=READ_THREADS, prefetch_buffer_size=PREFETCHED_BATCHES
        )
        iterator = iter(self._batches.to_iter_dataset(options))
        iterator.set_state({"next_index": self._next})
        return iterator
