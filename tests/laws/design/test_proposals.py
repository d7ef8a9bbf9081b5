"""Proposals of runs: what they promise, what they keep to, what they refuse."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from scaling.errors import UserError
from scaling.laws import fit
from scaling.laws.design import Candidates, levels, propose
from scaling.laws.design.targets import target


@pytest.mark.parametrize("goal", ["alpha", "n_exponent", "n_opt@2.4e13", "loss@2.4e13"])
def test_promised_narrowing_is_that_of_simulated_sweeps(surface, deviation, goal):
    """By least squares, with noise small enough for first order."""
    runs, noise = surface.sweep(), 2e-4
    options = dict(bootstrap=20, objective="log_squares", holdout=False)
    before = fit("chinchilla", runs, **options)
    proposal = propose(before, goal, 1.4e13, 3, draws=0)
    new = pd.DataFrame([dataclasses.asdict(r) for r in proposal.runs])
    new = new.rename(columns={"flops": "train_flops"}).assign(loss=surface.loss(new.n_params, new.n_tokens))
    new = new.assign(run_id=[f"new {i}" for i in new.index])  # else a point proposed twice is dropped
    named = ["run_id", "n_params", "n_tokens", "train_flops", "loss"]
    after = fit("chinchilla", pd.concat([runs[named], new[named]]), **options)
    wanted = target(goal, before.form, before.relation, 2.4e12)
    wide, narrow = (deviation(one.point, np.log(one.runs.loss), noise, wanted) for one in (before, after))
    assert 1 - proposal.narrowing == pytest.approx(narrow / wide, rel=0.06)
    assert proposal.narrowing > 0.1


def test_a_proposal_keeps_to_budget_candidates_and_count(law):
    candidates = Candidates.around(law, 8e12)
    proposal = propose(law, "loss@1e14", 8e12, 4, candidates)
    assert 1 <= len(proposal.runs) <= 4 and proposal.flops <= 8e12 * (1 + 1e-9)
    assert sum(r.share for r in proposal.runs) == pytest.approx(proposal.flops / 8e12)
    for r in proposal.runs:
        assert r.n_params == candidates.n_params[r.candidate]
        assert r.n_tokens == candidates.n_tokens[r.candidate]
    assert np.prod([1 - r.gain for r in proposal.runs]) == pytest.approx(1 - proposal.narrowing)
    low, high = proposal.interval_now
    assert low < proposal.interval_after[0] < proposal.value < proposal.interval_after[1] < high


def test_more_budget_narrows_more_and_less_narrows_less(law):
    small, large = (propose(law, "n_exponent", b, 3).narrowing for b in (3e12, 3e13))
    assert 0 < small < large
    proposal = propose(law, "n_exponent", 3e13, 3)
    less = [narrowing for _, narrowing in proposal.for_less]
    assert [b for b, _ in proposal.for_less] == [3e12] and 0 < less[0] < proposal.narrowing


def test_same_input_same_proposal(law):
    assert propose(law, "alpha", 1e13, 3).to_json() == propose(law, "alpha", 1e13, 3).to_json()


def test_without_repeats_no_candidate_comes_twice(law):
    candidates = Candidates.around(law, 1e13)
    twice = propose(law, "alpha", 1e13, 6, candidates)
    once = propose(law, "alpha", 1e13, 6, candidates, repeats=False)
    assert len({r.candidate for r in twice.runs}) < 6 == len({r.candidate for r in once.runs})
    assert once.narrowing < twice.narrowing


def test_checkpoints_of_one_run_count_as_one_run(law):
    """Each row three times under its run's id knows no more, so that new runs are worth as much."""
    thrice = dataclasses.replace(law, runs=law.runs.take(np.repeat(np.arange(len(law.runs)), 3)))
    once = propose(law, "alpha", 1e13, 3, draws=0)
    assert propose(thrice, "alpha", 1e13, 3, draws=0).narrowing == pytest.approx(once.narrowing)


def test_candidates_are_whole_and_stay_where_runs_were(law):
    candidates = Candidates.around(law, 1e13)
    ratio = law.runs.n_tokens / law.runs.n_params
    low, high = np.quantile(ratio, [0.05, 0.95])
    new = candidates.n_tokens / candidates.n_params
    assert (new >= low * (1 - 1e-5)).all() and (new <= high * (1 + 1e-5)).all()
    assert (candidates.n_params % 1 == 0).all() and (candidates.n_tokens % 1 == 0).all()
    assert candidates.flops.max() <= 1e13 and candidates.flops.min() >= law.runs.flops.min() * 0.999


def test_levels_add_up_to_the_whole():
    assert levels(0.15, 1.0) == pytest.approx([1, 5 / 6, 2 / 3, 1 / 2, 5 / 12, 1 / 3, 1 / 4, 5 / 24, 1 / 6])


@pytest.mark.parametrize("goal, message", [
    ("gamma", "no target 'gamma'"),
    ("loss", "at which budget"),
    ("loss@", "is not a positive number"),
    ("loss@1e21x", "'1e21x' is not a positive number"),
    ("loss@-1e21", "is not a positive number"),
    ("loss@1e999", "is not a positive number"),
    ("cost@1e21", "before the @ stands one of n_opt, d_opt, loss"),
    ("n_opt@n_params=3,n_tokens=4", "is at a budget"),
    ("loss@n_params=1e6", "also needs n_tokens"),
    ("loss@n_parms=1e6,n_tokens=2", "did you mean"),
])
def test_a_target_that_cannot_be_is_refused(law, goal, message):
    with pytest.raises(UserError, match=message):
        propose(law, goal, 1e13)


def test_a_target_that_the_form_fixes_is_refused(surface):
    """With one exponent for N and D, N* ~ C^(1/2) under C = 6 N D."""
    shared = fit("chinchilla_shared", surface.sweep(), bootstrap=20, holdout=False)
    with pytest.raises(UserError, match="chinchilla_shared fixes it"):
        propose(shared, "n_exponent", 1e13)


@pytest.mark.parametrize("options, message", [
    (dict(budget=1e10), "fewer than the cheapest fitted run"),
    (dict(budget=-1.0), "expected FLOPs above 0"),
    (dict(budget=np.nan), "expected FLOPs above 0"),
    (dict(budget=1e13, runs=0), "expected 1 to 50"),
    (dict(budget=1e13, draws=-1), "expected at least 0"),
])
def test_a_budget_or_count_that_cannot_be_is_refused(law, options, message):
    with pytest.raises(UserError, match=message):
        propose(law, "alpha", **options)


def test_a_budget_below_the_cheapest_candidate_is_refused(law):
    candidates = Candidates(np.array([1e5]), np.array([1e6]), np.array([6e11]))
    with pytest.raises(UserError, match="below the cheapest candidate, 6e[+]11"):
        propose(law, "alpha", 5e11, candidates=candidates)


@pytest.mark.parametrize("options, message", [
    (dict(sizes=[0.5]), "at least 1"),
    (dict(sizes=[np.nan]), "at least 1"),
    (dict(sizes=[1e12]), "no candidate"),
    (dict(tokens_per_param=(20.0, 2.0)), "low <= high"),
])
def test_candidates_that_cannot_be_are_refused(law, options, message):
    with pytest.raises(UserError, match=message):
        Candidates.around(law, 1e13, **options)
