"""What the README says is what the frozen runs hold; and what is compared is asked of both families."""

import pathlib
import sys

import numpy as np
import pandas as pd
import pytest

HERE = pathlib.Path(__file__).resolve().parents[2] / "experiments" / "decoder_vs_encdec"
sys.path.insert(0, str(HERE))

import figure  # noqa: E402
from suffix import Suffix  # noqa: E402

from scaling.gin_config import load_study  # noqa: E402
from scaling.objectives import NoiseConfig, Vocabulary  # noqa: E402
from scaling.objectives.prefix_lm import PrefixLM  # noqa: E402
from scaling.sweeps.plan import plan  # noqa: E402


@pytest.fixture(scope="module")
def runs() -> pd.DataFrame:
    return pd.read_csv(HERE / "results.csv")


@pytest.fixture(scope="module")
def fits(runs):
    return {name: figure.fit_of(runs, name) for name in figure.OBJECTIVES}


@pytest.mark.parametrize("objective", figure.OBJECTIVES)
def test_the_frozen_runs_are_those_that_the_gin_file_plans(runs, objective):
    planned = plan(load_study(str(HERE / f"{objective}.gin")).config)
    assert {e.run_id for e in planned} == set(runs[runs.objective == objective].run_id)


def test_the_budgets_are_the_same_and_were_met(runs):
    assert set(runs.status) == {"ok"}
    assert (runs.train_flops / runs.budget - 1).abs().max() < 0.01
    for _, group in runs.groupby("objective"):
        assert sorted(set(group.budget)) == [3e11, 5.5e11, 1e12, 1.8e12]


def test_profiles_that_the_readme_calls_convex(fits):
    for fit in fits.values():
        assert not fit.isoflop.problems and len(fit.isoflop.budgets) == 4
        for parabola in fit.isoflop.budgets:
            assert parabola.curvature > 0
            assert parabola.n_params.min() < parabola.n_opt < parabola.n_params.max()


def test_two_runs_of_span_corruption_ended_within_the_second_fall_and_what_they_do(runs, fits):
    asked = runs[runs.objective == "span_corruption"]
    late = asked[[(b, d) in {(3e11, 22), (5.5e11, 26)} for b, d in zip(asked.budget, asked.d_model)]]
    assert len(late) == 2 and (late.loss > 3.4).all()
    without = figure.fit_of(asked.drop(late.index), "span_corruption").isoflop
    exponent = fits["span_corruption"].isoflop.exponents["n_opt"]
    assert 0.1 < exponent - without.exponents["n_opt"] < 0.2
    assert without.exponents["n_opt_interval"][1] > exponent


def test_a_model_of_spans_is_best_small(fits):
    """A row asks for 14 targets of span corruption and for 33 of prefix LM."""
    spans, prefix = (fits[name].isoflop.budgets for name in ("span_corruption", "prefix_lm"))
    for one, other in zip(spans, prefix):
        assert one.n_opt < 0.8 * other.n_opt


def test_exponents_of_causal_and_prefix_lm_cannot_be_told_apart(fits):
    for approach in ("isoflop", "chinchilla"):
        (low, high), (least, most) = (
            getattr(fits[name], approach).exponents["n_opt_interval"] for name in ("causal_lm", "prefix_lm")
        )
        assert least < low < high < most, "causal LM's interval lies inside that of prefix LM"
        assert low < 0.5 < high


def test_nor_can_that_of_span_corruption(fits):
    for approach in ("isoflop", "chinchilla"):
        low, high = getattr(fits["span_corruption"], approach).exponents["n_opt_interval"]
        assert low < 0.5 < high, "as those of the other two"


def test_asked_the_same_the_decoder_is_ahead_at_equal_flops(runs):
    best = figure.same_targets(runs).suffix_loss
    assert (best.causal_lm < best.prefix_lm - 0.1).all()


def test_the_suffixes_that_a_decoder_is_asked_are_those_of_prefix_lm():
    """The same targets after the same text, row by row, where documents meet too; read causally."""
    draws, length, bos_id = np.random.default_rng(0), 24, 1
    rows = draws.integers(2, 50, (8, length + 1))
    rows[:, 0], rows[3:, 10], rows[6:, 17] = bos_id, bos_id, bos_id
    vocabulary = Vocabulary(50, bos_id)
    asked = Suffix(vocabulary, NoiseConfig(), length).example(rows)
    pairs = PrefixLM(vocabulary, NoiseConfig(), "encoder_decoder", length).example(rows)
    assert "decoder_prefix" not in asked
    for one, two in zip(rows_of(asked), rows_of(pairs)):
        assert one == two and len(one) > 5
    for r in range(len(rows)):
        for segment in set(asked["decoder_segment_ids"][r]) - {0}:
            text = asked["decoder_input_tokens"][r][asked["decoder_segment_ids"][r] == segment]
            shown = pairs["encoder_input_tokens"][r][pairs["encoder_segment_ids"][r] == segment]
            assert text[: len(shown)].tolist() == shown.tolist()


def rows_of(batch: dict[str, np.ndarray]) -> list[list[int]]:
    """Targets that count, of each row."""
    return [
        targets[weights > 0].tolist()
        for targets, weights in zip(batch["decoder_target_tokens"], batch["decoder_loss_weights"])
    ]
