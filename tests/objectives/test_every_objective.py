"""What holds of every objective of every family."""

import numpy as np
import pytest

from scaling.errors import UserError
from scaling.objectives import NoiseConfig, Vocabulary, build_objective

BOS = 1
T = 48


@pytest.fixture(params=[200, 6], ids=["long documents", "short documents"])
def rows(request, random_rows):
    return random_rows(24, T, request.param)


def test_a_batch_depends_on_seed_and_index_and_on_nothing_else(
    family_and_name, rows, make_objective
):
    objective = make_objective(*family_and_name, T)
    short = (rows == BOS).sum() > 3 * len(rows)
    whole = objective.example(rows, seed=5, indices=np.arange(100, 124))
    order = np.random.default_rng(0).permutation(24)
    moved = objective.example(rows[order].reshape(4, 6, -1), 5, (100 + order).reshape(4, 6))
    for name, array in whole.items():
        np.testing.assert_array_equal(moved[name].reshape(24, -1), array[order])
    other = objective.example(rows, seed=6, indices=np.arange(100, 124))
    elsewhere = objective.example(rows, seed=5, indices=np.arange(24))
    random = family_and_name[1] not in ("causal_lm", "prefix_lm")
    for changed in (other, elsewhere):
        same = all(np.array_equal(changed[name], whole[name]) for name in whole)
        # a piece of a few tokens has one span, at its end: there is nothing to choose
        assert same != random or (random and family_and_name[1] == "span_corruption" and short)


def test_arrays_have_the_promised_lengths_and_kinds(family_and_name, rows, make_objective):
    objective = make_objective(*family_and_name, T)
    batch = objective.example(rows)
    for name, array in batch.items():
        side = name.split("_")[0]
        assert array.shape == (24, getattr(objective.lengths, side))
        assert array.dtype == (np.float32 if name.endswith("weights") else np.int32)
    assert {name.split("_")[0] for name in batch} == {
        side for side in ("encoder", "decoder") if getattr(objective.lengths, side)
    }
    weights = batch[f"{objective.side}_loss_weights"]
    assert set(np.unique(weights)) == {0, 1}
    segments = batch[f"{objective.side}_segment_ids"]
    if family_and_name[1] != "causal_lm":
        assert (segments[weights == 1] > 0).all()  # 0 is padding


def test_positions_count_up_from_0_in_each_segment(family_and_name, rows, make_objective):
    batch = make_objective(*family_and_name, T).example(rows)
    for side in ("encoder", "decoder"):
        if f"{side}_positions" in batch:
            positions, segments = batch[f"{side}_positions"], batch[f"{side}_segment_ids"]
            for row_positions, row_segments in zip(positions, segments):
                for segment in set(row_segments) - {0}:
                    here = row_positions[row_segments == segment]
                    assert here.tolist() == list(range(len(here)))


def test_a_decoder_reads_each_target_one_later(family_and_name, rows, make_objective):
    """The token read at t + 1 is the one asked for at t, inside a segment."""
    family, name = family_and_name
    if family == "encoder":
        pytest.skip("it has no decoder")
    batch = make_objective(family, name, T).example(rows)
    read, asked = batch["decoder_input_tokens"], batch["decoder_target_tokens"]
    segments = batch["decoder_segment_ids"]
    together = segments[:, 1:] == segments[:, :-1]
    assert (read[:, 1:] == asked[:, :-1])[together & (segments[:, 1:] > 0)].all()
    if family == "encoder_decoder":
        first = (batch["decoder_positions"] == 0) & (segments > 0)
        assert (read[first] == BOS).all()
        for row in range(len(rows)):  # each decoder segment has its encoder segment
            assert set(segments[row]) - {0} <= set(batch["encoder_segment_ids"][row])


def test_no_position_is_wasted_on_a_row_of_one_document(
    family_and_name, random_rows, make_objective
):
    family, name = family_and_name
    row = random_rows(1, T, 6)
    row[:] = np.arange(2, T + 3)
    batch = make_objective(family, name, T).example(row)
    if name != "mixture_of_denoisers":  # whose arrays must hold the longest of seven
        for side in ("encoder", "decoder"):
            if name != "causal_lm" and f"{side}_segment_ids" in batch:
                assert (batch[f"{side}_segment_ids"] == 1).all()


def test_target_bytes_are_those_of_the_text_asked_for(family_and_name, rows, make_objective):
    objective = make_objective(*family_and_name, T)
    token_bytes = np.arange(200) % 7
    token_bytes[[BOS, *range(180, 200)]] = 0
    batch = objective.example(rows)
    targets = batch[f"{objective.side}_target_tokens"]
    weights = batch[f"{objective.side}_loss_weights"]
    n_bytes = sum(token_bytes[t] for t, w in zip(targets.ravel(), weights.ravel()) if w)
    assert objective.target_bytes(batch, token_bytes) == n_bytes > 0


@pytest.mark.parametrize(
    ("name", "family", "n_sentinels", "expected"),
    [
        ("masked_lm", "decoder", 9, "Experiment.objective = 'masked_lm'"),
        ("causal_lm", "encoder_decoder", 9, "prefix_lm, span_corruption, mixture_of_denoisers"),
        ("masked_lm", "encoder", 0, "TokenizerConfig.n_sentinels = 0: expected at least 1"),
        ("span_corruption", "decoder", 2, "TokenizerConfig.n_sentinels = 2: expected at least 3"),
        ("mixture_of_denoisers", "decoder", 0, "TokenizerConfig.n_sentinels = 0"),
    ],
)
def test_what_cannot_be_is_refused(name, family, n_sentinels, expected):
    vocabulary = Vocabulary(50, BOS, tuple(range(40, 40 + n_sentinels)))
    with pytest.raises(UserError) as error:  # 5 of 32 hidden in 2 spans: 3 sentinels
        build_objective(name, NoiseConfig(), family, vocabulary, 32)
    assert expected in str(error.value)


@pytest.mark.parametrize(
    "change",
    [{"density": 0}, {"density": 1}, {"mean_span_length": 0.5}, {"mask_share": 0.9, "random_share": 0.2},
     {"prefix_fraction": 0}, {"suffix_fraction": 1}],
)
def test_noise_out_of_range_is_refused(change):
    with pytest.raises(UserError, match=f"NoiseConfig.{next(iter(change))}"):
        NoiseConfig(**change)
