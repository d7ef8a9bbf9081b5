"""Budgets by density of compute."""

import numpy as np
import pytest

from scaling.errors import UserError
from scaling.laws.approaches.budgets import budgets_within


def test_dense_windows_are_budgets_and_stragglers_are_none():
    flops = np.array([8.05e18, 1e18, 1.02e18, 2e18, 1.04e18, 1.05e18, 4e18, 8e18, 8.1e18, 8.2e18])
    assert budgets_within(flops, 0.1).tolist() == [1, 0, 0, -1, 0, 0, -1, 1, 1, 1]


def test_a_budget_is_no_wider_than_the_tolerance():
    flops = np.geomspace(1, 10, 200)
    group = budgets_within(flops, 0.2)
    for g in range(group.max() + 1):
        assert np.ptp(np.log(flops[group == g])) <= np.log(1.2)


def test_order_of_rows_does_not_matter():
    flops = np.exp(np.random.default_rng(0).normal(size=60))
    order = np.random.default_rng(1).permutation(60)
    assert (budgets_within(flops, 0.2)[order] == budgets_within(flops[order], 0.2)).all()


def test_a_tolerance_must_be_above_zero():
    with pytest.raises(UserError, match="expected a number above 0"):
        budgets_within(np.ones(5), 0.0)
