"""Training FLOPs: which column is believed, and rows that do not count alike."""

import os
import pathlib

import numpy as np
import pytest

from scaling.errors import UserError
from scaling.laws import read_runs, usable_runs

_BESIDE = pathlib.Path(__file__).resolve().parents[4] / "shared" / "published"
PUBLISHED = pathlib.Path(os.environ.get("SCALING_PUBLISHED_DATA", _BESIDE))
published = pytest.mark.skipif(
    not PUBLISHED.is_dir(), reason="no published runs; set SCALING_PUBLISHED_DATA"
)


def test_flops_stand_in_for_train_flops_and_are_said_to(noisy):
    flops = 1.3 * noisy.train_flops
    runs = usable_runs(noisy.drop(columns="train_flops").assign(flops=flops))
    np.testing.assert_array_equal(runs.flops, flops)
    assert runs.notes == ("C is read from column flops",)
    np.testing.assert_array_equal(usable_runs(noisy.assign(flops=flops)).flops, noisy.train_flops)


def test_flops_that_overflowed_are_not_used(noisy):
    """6 N D of large runs in 64-bit integers is wrapped around 2^63: negative, or positive and wrong."""
    runs = noisy.drop(columns="train_flops")
    runs[["n_params", "n_tokens"]] = (runs[["n_params", "n_tokens"]] * 3000).round().astype("int64")
    with np.errstate(over="ignore"):
        runs["flops"] = 6 * runs.n_params * runs.n_tokens
    true = 6.0 * runs.n_params * runs.n_tokens
    assert (runs.flops < 0).any() and ((runs.flops > 0) & (runs.flops < true / 2)).any()
    taken = usable_runs(runs)
    np.testing.assert_allclose(taken.flops, true)
    (note,) = taken.notes
    row = int(np.flatnonzero(runs.flops < 0)[0]) + 1
    assert "column flops is not used, C = 6 N D" in note and f"row {row}: -" in note
    runs["train_flops"] = runs["flops"]
    with pytest.raises(UserError, match=f"row {row}, column train_flops: -.* is not a positive"):
        usable_runs(runs)


def test_c_of_a_mixture_of_experts_counts_what_a_token_passes_through(noisy):
    runs = noisy.drop(columns="train_flops").assign(n_active=noisy.n_params / 8)
    taken = usable_runs(runs)
    np.testing.assert_allclose(taken.flops, 6 * runs.n_active * runs.n_tokens)
    assert taken.notes == ("no column train_flops: C = 6 n_active D",)


def test_one_convention_of_c_is_not_called_mixed(noisy):
    """Attention and embeddings: C / (6 N D) from 1 to 3 across sizes, smoothly."""
    size = noisy.n_params / noisy.n_params.min()
    runs = noisy.assign(train_flops=noisy.train_flops * (1 + 2 / size**0.5))
    ratio = runs.train_flops / noisy.train_flops
    assert ratio.max() / ratio.min() > 1.5
    assert usable_runs(runs).notes == ()


def test_two_conventions_are_pointed_out_with_rows(noisy):
    c = noisy.train_flops.copy()
    c[7::2] *= 3  # forward and backward in some rows, forward alone in others
    (note,) = usable_runs(noisy.assign(train_flops=c)).notes
    assert "mixed conventions?" in note and "row 1 " in note and "row 8" in note


def test_units_that_differ_between_rows_are_refused_with_rows(noisy):
    n = noisy.n_params.copy()
    n[[3, 9]] /= 1e6  # in millions
    with pytest.raises(UserError, match=r"mixed conventions or units.*2 of 24 rows stand apart: 4, 10\)"):
        usable_runs(noisy.assign(n_params=n))


def test_likely_mistakes_of_unit_are_notes(noisy):
    millions = usable_runs(noisy.assign(n_params=noisy.n_params / 1e6)).notes
    assert any("are n_params or n_tokens in thousands, millions" in note for note in millions)
    assert any("n_params are at most" in note for note in millions)
    (percent,) = usable_runs(noisy.assign(loss=noisy.loss * 10)).notes
    assert "a percentage or a perplexity" in percent and f"row {noisy.loss.argmax() + 1}:" in percent


@published
@pytest.mark.parametrize("name", ["gemstones_hot", "gemstones_cool_end", "steplaw_dense"])
def test_published_flops_that_overflowed_are_six_n_d(name):
    runs = usable_runs(read_runs(PUBLISHED / f"{name}.csv"))
    np.testing.assert_allclose(runs.flops, 6 * runs.n_params * runs.n_tokens)
    assert any("column flops is not used" in note for note in runs.notes)
