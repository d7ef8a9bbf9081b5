"""UL2's seven denoisers, told apart by what they hide."""

import numpy as np
import pytest

R, S, X = 197, 198, 199
T = 64


@pytest.fixture(scope="module")
def drawn(make_objective):
    rows = np.tile(np.arange(2, T + 3), (700, 1))
    objective = make_objective("encoder_decoder", "mixture_of_denoisers", T)
    return objective, objective.example(rows)


def hidden_and_spans(batch, row):
    targets = batch["decoder_target_tokens"][row][batch["decoder_loss_weights"][row] == 1]
    return int((targets < 180).sum()), int((targets >= 180).sum()) - 1


def test_the_first_input_names_what_is_done(drawn):
    """Tay et al. 2022, table 1, on 64 tokens: 10 are 15%, 32 are a half, 16 a quarter."""
    _, batch = drawn
    found = {R: set(), S: set(), X: set()}
    for row in range(700):
        found[batch["encoder_input_tokens"][row, 0]].add(hidden_and_spans(batch, row))
    assert found == {
        R: {(10, 3), (10, 1)},
        S: {(16, 1)},
        X: {(32, 11), (32, 4), (10, 1), (32, 1)},
    }


def test_seven_denoisers_are_as_likely(drawn):
    _, batch = drawn
    counts = {mode: int((batch["encoder_input_tokens"][:, 0] == mode).sum()) for mode in (R, S, X)}
    for mode, share in ((R, 2), (S, 1), (X, 4)):
        assert abs(counts[mode] - 100 * share) < 5 * np.sqrt(100 * share)


def test_the_s_denoiser_hides_the_end(drawn):
    _, batch = drawn
    row = int(np.flatnonzero(batch["encoder_input_tokens"][:, 0] == S)[0])
    n_inputs = int((batch["encoder_segment_ids"][row] == 1).sum())
    assert batch["encoder_input_tokens"][row, :n_inputs].tolist() == [S, *range(2, 50), 180]
    asked = batch["decoder_target_tokens"][row][batch["decoder_loss_weights"][row] == 1]
    assert asked.tolist() == [180, *range(50, 66), 181]


def test_a_decoder_has_room_for_the_longest_of_them_not_for_the_sum(make_objective):
    one = make_objective("decoder", "mixture_of_denoisers", T).lengths
    two = make_objective("encoder_decoder", "mixture_of_denoisers", T).lengths
    assert one.decoder < two.encoder + two.decoder - 1
