import random

import numpy as np
import pytest

from scaling.data.packing import Packer, spread_evenly

BOS = 7


@pytest.mark.parametrize("sequence_length", [1, 5, 16])
@pytest.mark.parametrize("lengths", [[0], [1, 0, 0, 2], [100], [3] * 50, [40, 1, 0, 77, 16, 15]])
def test_every_token_is_a_target_once_and_in_order(sequence_length, lengths):
    draw = random.Random(0)
    documents = [[draw.randrange(8, 60000) for _ in range(n)] for n in lengths]
    stream = [token for document in documents for token in [BOS, *document]]
    packer = Packer(sequence_length, BOS)
    blocks = list(packer.rows(documents))
    rows = np.concatenate([np.empty((0, sequence_length + 1), np.uint16), *blocks])
    assert packer.n_tokens == len(stream)
    assert len(rows) == packer.n_rows
    assert 0 <= packer.n_dropped < sequence_length
    kept = len(stream) - packer.n_dropped
    assert rows[:, 1:].ravel().tolist() == stream[1:kept]
    assert rows[:, :-1].ravel().tolist() == stream[: kept - 1]


@pytest.mark.parametrize("n_chosen, n_all", [(1, 1), (5, 5), (5, 7), (64, 1000), (1024, 1025)])
def test_chosen_windows_are_distinct_and_spread(n_chosen, n_all):
    chosen = spread_evenly(n_chosen, n_all)
    assert len(set(chosen.tolist())) == n_chosen
    assert 0 <= chosen.min() and chosen.max() < n_all
    if n_chosen > 1:
        assert np.diff(chosen).max() - np.diff(chosen).min() <= 1
