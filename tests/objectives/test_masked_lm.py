import numpy as np
import pytest

MASK = 180
BOS = 1


@pytest.fixture(scope="module")
def drawn(random_rows, make_objective):
    rows = random_rows(400, 60, 40)
    objective = make_objective("encoder", "masked_lm", 60)
    return rows, objective.example(rows, seed=1)


def test_a_share_of_each_rows_text_is_selected_and_bos_never(drawn):
    rows, batch = drawn
    selected = batch["encoder_loss_weights"] == 1
    text = rows[:, :-1] != BOS
    assert not selected[~text].any()
    np.testing.assert_array_equal(selected.sum(1), np.round(text.sum(1) * 0.15))
    np.testing.assert_array_equal(batch["encoder_target_tokens"], rows[:, :-1])


def test_of_the_selected_80_are_masked_10_random_10_kept(drawn):
    _, batch = drawn
    selected = batch["encoder_loss_weights"] == 1
    read, asked = batch["encoder_input_tokens"][selected], batch["encoder_target_tokens"][selected]
    n = len(read)
    masked, kept = (read == MASK).mean(), (read == asked).mean()
    assert n > 3000
    assert abs(masked - 0.8) < 4 * np.sqrt(0.8 * 0.2 / n)
    assert abs(kept - 0.1) < 4 * np.sqrt(0.1 * 0.9 / n) + 0.1 / 179
    random = read[(read != MASK) & (read != asked)]
    assert random.max() < 180 and BOS not in random  # text tokens only
    assert len(set(random)) > 100


def test_what_is_not_selected_is_read_as_it_is(drawn):
    _, batch = drawn
    rest = batch["encoder_loss_weights"] == 0
    np.testing.assert_array_equal(
        batch["encoder_input_tokens"][rest], batch["encoder_target_tokens"][rest]
    )
