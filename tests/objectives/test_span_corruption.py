"""T5's noise: how much is hidden, in what spans, and that nothing is lost."""

import numpy as np
import pytest

from scaling.objectives.draws import Draws
from scaling.objectives.spans import corrupt, noise_counts, noise_mask, rebuild

SENTINELS = np.arange(180, 200)
BOS = 1


def segments(batch, row):
    """(inputs, targets) of each pair of a row of an encoder-decoder's batch."""
    ids = batch["decoder_segment_ids"][row]
    for segment in sorted(set(ids) - {0}):
        yield (
            batch["encoder_input_tokens"][row][batch["encoder_segment_ids"][row] == segment],
            batch["decoder_target_tokens"][row][ids == segment],
        )


def test_by_hand():
    """Raffel et al. 2020, figure 2, with two spans."""
    thank_you = np.arange(10, 21)
    mask = np.isin(thank_you, [12, 13, 19, 20])
    pair = corrupt(thank_you, mask, SENTINELS)
    assert pair.inputs.tolist() == [10, 11, 180, 14, 15, 16, 17, 18, 181]
    assert pair.targets.tolist() == [180, 12, 13, 181, 19, 20, 182]


@pytest.mark.parametrize(("density", "mean"), [(0.15, 3), (0.5, 3), (0.15, 1), (0.9, 2), (0.5, 64)])
def test_counts_spans_and_rebuilding_for_every_length(density, mean):
    for n in range(2, 70):
        hidden, spans = noise_counts(n, density, mean)
        mask = noise_mask(Draws(3, n), n, hidden, spans)
        assert mask.sum() == hidden and not mask[0] and mask[-1]
        assert (np.diff(mask.astype(int)) == 1).sum() == spans
        tokens = np.arange(2, n + 2)
        pair = corrupt(tokens, mask, np.arange(500, 600))
        assert (len(pair.inputs), len(pair.targets)) == (n - hidden + spans, hidden + spans + 1)
        assert np.array_equal(rebuild(pair, np.arange(500, 600)), tokens)
        if 10 <= n:
            assert hidden == round(n * density) or hidden == n - 1
            assert spans == pytest.approx(min(hidden / mean, n - hidden), abs=1)


@pytest.mark.parametrize("longest", [300, 5], ids=["long documents", "short documents"])
def test_targets_rebuild_the_rows_text(longest, random_rows, make_objective):
    rows = random_rows(40, 48, longest)
    objective = make_objective("encoder_decoder", "span_corruption", 48)
    batch = objective.example(rows, seed=2)
    kept = 0
    for r, row in enumerate(rows):
        starts = np.flatnonzero(row[:-1] == BOS)
        texts = [text.tolist() for text in np.split(row[:-1], starts)]
        rebuilt = [
            rebuild(type("P", (), {"inputs": i, "targets": t}), SENTINELS).tolist()
            for i, t in segments(batch, r)
        ]
        if len(texts) == 1:
            assert rebuilt == texts
        kept += sum(map(len, rebuilt))
        for text in rebuilt:  # each the beginning of a piece of the row, none of two documents
            assert any(text == whole[: len(text)] for whole in texts)
    # what closes each further piece of a row, and rounding, cost tokens
    assert kept > (0.9 if longest == 300 else 0.2) * rows[:, :-1].size


def test_a_decoder_is_asked_for_the_same_targets(random_rows, make_objective):
    rows = random_rows(10, 48, 300)
    both = make_objective("encoder_decoder", "span_corruption", 48).example(rows)
    one = make_objective("decoder", "span_corruption", 48).example(rows)
    weighted = one["decoder_loss_weights"] == 1
    for r in range(10):
        asked = both["decoder_target_tokens"][r][both["decoder_loss_weights"][r] == 1]
        if (both["decoder_segment_ids"][r] <= 1).all():
            assert one["decoder_target_tokens"][r][weighted[r]].tolist() == asked.tolist()
        last_input = np.flatnonzero(one["decoder_prefix"][r])
        assert not weighted[r][last_input[:-1]].any() or both["decoder_segment_ids"][r].max() > 1


def test_every_mask_of_a_shape_is_as_likely():
    """4 of 7 hidden in 2 spans: 2 ways to split 3 kept tokens, 3 ways to split 4 hidden ones."""
    masks = [noise_mask(Draws(0, i), 7, 4, 2).tobytes() for i in range(3000)]
    counts = np.unique(masks, return_counts=True)[1]
    assert len(counts) == 6
    assert (np.abs(counts - 500) < 5 * np.sqrt(500)).all()
