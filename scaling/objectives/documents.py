"""Where documents meet inside a packed row: each is opened by BOS."""

import numpy as np


def pieces(row: np.ndarray, bos_id: int) -> list[np.ndarray]:
    """The documents' pieces in a row; each but perhaps the first begins with BOS."""
    starts = np.flatnonzero(row == bos_id)
    return [piece for piece in np.split(row, starts) if len(piece)]


def document_positions(tokens: np.ndarray, bos_id: int) -> tuple[np.ndarray, np.ndarray]:
    """Segment ids (from 0, or 1 where a row begins with a document) and positions in each document.

    tokens: int [..., T], documents opened by BOS. Both int32 [..., T].
    """
    starts = tokens == bos_id
    index = np.arange(tokens.shape[-1], dtype=np.int32)
    last_start = np.maximum.accumulate(np.where(starts, index, 0), axis=-1)
    return np.cumsum(starts, axis=-1, dtype=np.int32), (index - last_start).astype(np.int32)


def without_last(row_pieces: list[np.ndarray]) -> list[np.ndarray]:
    """The pieces of a row but for its last token, which is the first of the next row."""
    return [*row_pieces[:-1], row_pieces[-1][:-1]]
