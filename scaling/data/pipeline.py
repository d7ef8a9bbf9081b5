"""The order in which training sees its rows: seeded, sharded, resumable."""

from typing import Any

import grain
import numpy as np
from grain.experimental import index_shuffle

from scaling.config import content_hash
from scaling.data.rows import Rows
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

    order_seed: grain's seed of the order, derived from `seed`.
    """

    def __init__(
        self,
        rows: Rows,
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
        self._rows = rows
        # grain takes epoch e of seed s for epoch e - 1 of seed s + 1: keep seeds far apart
        self.order_seed = int(content_hash({"data order": seed}, digits=8), 16)
        self._batch_size = batch_size
        self._process_index = process_index
        self._process_count = process_count
        self._iterator: grain.DatasetIterator | None = None
        self._next = 0
        self._identity = {"n_rows": len(rows), "batch_size": batch_size, "seed": seed}

    @property
    def epochs(self) -> float:
        """Rows drawn so far, by all processes, over the rows there are."""
        return self._next * self._batch_size / len(self._rows)

    def next_batches(self, k: int) -> np.ndarray:
        """The next k batches: int32 [k, batch_size / process_count, sequence_length + 1]."""
        if self._rows.in_memory:
            batches = self._rows.__getitems__(self._row_indices(self._next, self._next + k))
        else:
            if self._iterator is None:
                self._iterator = self._reader()
            batches = np.stack([next(self._iterator) for _ in range(k)])
        self._next += k
        return batches

    def peek(self, k: int) -> np.ndarray:
        """The batches that `next_batches(k)` will give, without taking them."""
        state = self.get_state()
        batches = self.next_batches(k)
        self.set_state(state)
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

    def _row_indices(self, start: int, stop: int) -> np.ndarray:
        """Rows of this process in batches start..stop: [stop - start, batch / process_count].

        What grain's `shuffle().repeat()` would give, without its cost of 10 us a row.
        """
        size = self._batch_size // self._process_count
        first = np.arange(start, stop)[:, None] * self._batch_size + self._process_index * size
        positions = first + np.arange(size)
        n = len(self._rows)
        indices = [
            index_shuffle(position % n, n - 1, (self.order_seed + position // n) % 2**32, 4)
            for position in positions.ravel().tolist()
        ]
        return np.array(indices).reshape(positions.shape)

    def _reader(self) -> grain.DatasetIterator:
        rows = grain.MapDataset.source(self._rows).shuffle(seed=self.order_seed).repeat()
        # an endless dataset has no remainder, and grain overflows in rounding its length up
        batches = rows.batch(self._batch_size // self._process_count, drop_remainder=True)
        shard = batches[self._process_index :: self._process_count]
        options = grain.ReadOptions(
            num_threads=READ_THREADS, prefetch_buffer_size=PREFETCHED_BATCHES
        )
        iterator = iter(shard.to_iter_dataset(options))
        iterator.set_state({"next_index": self._next})
        return iterator
