"""Budgets and groups along compute."""

import numpy as np

from scaling.laws.table.budgets import budgets_by_gaps, compute_groups


def groups(flops):
    return compute_groups(budgets_by_gaps(flops), flops)


def test_few_budgets_are_the_groups():
    flops = np.repeat([1e18, 3e18, 9e18, 2.7e19], 6)
    np.testing.assert_array_equal(groups(flops), np.repeat(np.arange(4), 6))


def test_runs_spread_over_compute_fall_into_equal_shares():
    flops = np.geomspace(1e18, 1e21, 64)[np.random.default_rng(0).permutation(64)]
    found = groups(flops)
    np.testing.assert_array_equal(np.bincount(found), np.full(8, 8))
    assert flops[found == 3].max() < flops[found == 4].min()


def test_no_budget_is_cut_in_two_where_there_are_more_than_eight():
    sizes = np.random.default_rng(1).integers(3, 9, 11)
    budget = np.repeat(np.arange(11), sizes)
    flops = 2.0**budget * (1 + 0.03 * np.random.default_rng(2).random(len(budget)))
    found = groups(flops)
    assert 5 <= found.max() + 1 <= 8
    for one in range(11):
        assert len(np.unique(found[budget == one])) == 1
    assert (np.diff(found) >= 0).all()


def test_a_group_is_never_split_from_runs_that_cost_the_same_up_to_rounding():
    n, d = np.meshgrid([1e7, 3e7, 1e8, 3e8], [1e9, 3e9, 1e10, 3e10])
    flops = 6 * n.ravel() * d.ravel()
    found = groups(flops)
    assert len(set(found[np.isclose(flops, 1.8e18)])) == 1
