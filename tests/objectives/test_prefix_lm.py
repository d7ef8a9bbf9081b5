import numpy as np
import pytest

from scaling.objectives import CausalLM

BOS = 1


def test_both_families_by_hand(make_objective):
    """The end of one document (3 tokens) and the start of another (4)."""
    row = np.array([[7, 8, 9, BOS, 4, 5, 6]])
    one = make_objective("decoder", "prefix_lm", 6).example(row)
    assert {name: array.tolist() for name, array in one.items()} == {
        "decoder_input_tokens": [[7, 8, BOS, 4, 5, 0]],
        "decoder_target_tokens": [[8, 9, 4, 5, 6, 0]],
        "decoder_loss_weights": [[0, 1, 0, 1, 1, 0]],
        "decoder_prefix": [[1, 1, 1, 1, 0, 0]],
        "decoder_segment_ids": [[1, 1, 2, 2, 2, 0]],
        "decoder_positions": [[0, 1, 0, 1, 2, 0]],
    }
    both = make_objective("encoder_decoder", "prefix_lm", 6).example(row)
    assert {name: array.tolist() for name, array in both.items()} == {
        "encoder_input_tokens": [[7, 8, BOS, 4]],
        "encoder_segment_ids": [[1, 1, 2, 2]],
        "encoder_positions": [[0, 1, 0, 1]],
        "decoder_input_tokens": [[BOS, BOS, 5]],
        "decoder_target_tokens": [[9, 5, 6]],
        "decoder_loss_weights": [[1, 1, 1]],
        "decoder_segment_ids": [[1, 2, 2]],
        "decoder_positions": [[0, 0, 1]],
    }


@pytest.mark.parametrize("prefix", ["fixed", "uniform"])
def test_families_are_asked_for_the_same_text_given_the_same_text(
    prefix, random_rows, make_objective
):
    rows = random_rows(60, 32, 400)
    one = make_objective("decoder", "prefix_lm", 32, prefix=prefix).example(rows)
    both = make_objective("encoder_decoder", "prefix_lm", 32, prefix=prefix).example(rows)
    for r in range(60):
        weighted = one["decoder_loss_weights"][r] == 1
        asked = both["decoder_target_tokens"][r][both["decoder_loss_weights"][r] == 1]
        seen = both["encoder_input_tokens"][r][both["encoder_segment_ids"][r] > 0]
        if BOS not in rows[r][1:]:
            assert one["decoder_target_tokens"][r][weighted].tolist() == asked.tolist()
            assert one["decoder_input_tokens"][r][one["decoder_prefix"][r] == 1].tolist() == seen.tolist()
            assert [*seen, *asked] == rows[r].tolist()


def test_it_is_causal_lm_scored_on_the_suffix(random_rows, make_objective):
    rows = random_rows(30, 32, 400)
    rows = rows[(rows[:, 1:] != BOS).all(1)]
    ours = make_objective("decoder", "prefix_lm", 32).example(rows)
    causal = CausalLM(BOS, 32).example(rows)
    for name in ("input_tokens", "target_tokens", "positions"):
        np.testing.assert_array_equal(ours[f"decoder_{name}"], causal[f"decoder_{name}"])
    assert len(rows) > 10 and ours["decoder_loss_weights"].sum(1).tolist() == [17] * len(rows)


def test_a_uniform_split_is_uniform(random_rows, make_objective):
    rows = np.tile(np.arange(2, 12), (3000, 1))  # 10 tokens: 9 points to split at
    objective = make_objective("decoder", "prefix_lm", 9, prefix="uniform")
    n_inputs = objective.example(rows)["decoder_prefix"].sum(1)
    counts = np.bincount(n_inputs, minlength=10)[1:]
    assert len(counts) == 9 and (np.abs(counts - 3000 / 9) < 5 * np.sqrt(3000 / 9)).all()
