"""Pairs of (inputs, targets), one a document's piece, laid out as a batch for a model family.

Rows are int [..., T + 1] as the pipeline packs them. A row may hold pieces of several documents:
each becomes a pair of its own, and pairs of one row share neither attention nor positions.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from scaling.objectives.lengths import Lengths


class Pair(NamedTuple):
    """What the model is shown and what it has to say; `inputs` is never empty."""

    inputs: np.ndarray
    targets: np.ndarray


class Room(NamedTuple):
    """Positions still free in a row: `total` counts both sides where they share one stack."""

    inputs: int
    targets: int
    total: int

    @classmethod
    def of(cls, lengths: Lengths) -> "Room":
        if lengths.encoder:
            return cls(lengths.encoder, lengths.decoder, lengths.encoder + lengths.decoder)
        # one stack: each pair takes a position less than it has tokens, its last is only a target
        return cls(lengths.decoder + 1, lengths.decoder, lengths.decoder)

    def holds(self, inputs: int, targets: int, shared: bool) -> bool:
        total = inputs + targets - shared
        return inputs <= self.inputs and targets <= self.targets and total <= self.total

    def after(self, inputs: int, targets: int, shared: bool) -> "Room":
        total = self.total - (inputs + targets - shared)
        return Room(self.inputs - inputs, self.targets - targets, total)


def fitted(
    row_pieces: list[np.ndarray], sizes: Callable[[int], tuple[int, int]], lengths: Lengths
) -> list[np.ndarray]:
    """The pieces, each cut at its end as far as it must for what is made of it to find room.

    sizes: of the inputs and targets made from a piece of n tokens, for n of at least 2. A row that
    holds one piece is never cut; with more, rounding and what closes each of them cost tokens: they
    are not shown or asked for then, many where documents are far shorter than a row. Pieces left with
    fewer than two tokens have no target and go too.
    """
    room, shared, kept = Room.of(lengths), not lengths.encoder, []
    for piece in row_pieces:
        n = len(piece)
        while n >= 2 and not room.holds(*sizes(n), shared):
            n -= 1
        if n >= 2:
            room = room.after(*sizes(n), shared)
            kept.append(piece[:n])
    return kept


def encoder_decoder_arrays(
    rows: list[list[Pair]], lengths: Lengths, bos_id: int
) -> dict[str, np.ndarray]:
    """Inputs to the encoder, targets to the decoder, which reads them one later, after a BOS.

    Arrays [R, lengths.encoder] `encoder_input_tokens`, `_segment_ids`, `_positions`, and
    [R, lengths.decoder] `decoder_input_tokens`, `_target_tokens`, `_loss_weights`,
    `_segment_ids`, `_positions`. The pairs of a row are its segments 1, 2, ...; 0 is padding. Encoder
    and decoder segments of one id belong together.
    """
    encoder = _Stack("encoder", len(rows), lengths.encoder)
    decoder = _Stack("decoder", len(rows), lengths.decoder)
    for r, pairs in enumerate(rows):
        for segment, pair in enumerate(pairs, 1):
            encoder.add(r, segment, input_tokens=pair.inputs)
            shifted = np.concatenate([[bos_id], pair.targets[:-1]])
            decoder.add(
                r, segment, input_tokens=shifted, target_tokens=pair.targets, loss_weights=1
            )
    return encoder.arrays("input_tokens") | decoder.arrays(
        "input_tokens", "target_tokens", "loss_weights"
    )


def decoder_arrays(rows: list[list[Pair]], length: int) -> dict[str, np.ndarray]:
    """Inputs and then targets in one stack, each token predicted from those before it.

    Arrays [R, length] `decoder_input_tokens`, `_target_tokens`, `_loss_weights` (1 where the token
    predicted is one of the pair's targets), `_segment_ids` (from 1; 0 is padding), `_positions` and
    `_prefix` (1 where the token read is one of its inputs: the whole segment may attend to it).
    """
    stack = _Stack("decoder", len(rows), length)
    for r, pairs in enumerate(rows):
        for segment, pair in enumerate(pairs, 1):
            tokens = np.concatenate([pair.inputs, pair.targets])
            index = np.arange(len(tokens) - 1)
            n_inputs = len(pair.inputs)
            stack.add(
                r, segment, input_tokens=tokens[:-1], target_tokens=tokens[1:],
                loss_weights=index >= n_inputs - 1, prefix=index < n_inputs,
            )
    return stack.arrays("input_tokens", "target_tokens", "loss_weights", "prefix")


class _Stack:
    """The arrays of one stack, filled from the left."""

    def __init__(self, name: str, n_rows: int, length: int):
        self._name, self._shape = name, (n_rows, length)
        self._filled = [0] * n_rows
        self._arrays: dict[str, np.ndarray] = {}

    def add(self, row: int, segment: int, **values: np.ndarray | int) -> None:
        start = self._filled[row]
        stop = self._filled[row] = start + len(values["input_tokens"])
        values |= {"segment_ids": segment, "positions": np.arange(stop - start)}
        for name, value in values.items():
            if name not in self._arrays:
                self._arrays[name] = self._zeros(name)
            self._arrays[name][row, start:stop] = value

    def arrays(self, *names: str) -> dict[str, np.ndarray]:
        """Those named (all zero if nothing was added), segment ids and positions."""
        names = (*names, "segment_ids", "positions")
        zeros = {name: self._zeros(name) for name in names if name not in self._arrays}
        return {f"{self._name}_{name}": (self._arrays | zeros)[name] for name in names}

    def _zeros(self, name: str) -> np.ndarray:
        return np.zeros(self._shape, np.float32 if name == "loss_weights" else np.int32)
