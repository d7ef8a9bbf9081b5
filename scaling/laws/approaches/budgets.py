"""Budgets found in a table whose compute is not exactly one of a few values."""

import numpy as np

from scaling.errors import UserError

MIN_RUNS = 4  # fewer agree by chance, and a parabola through them has no residual


def budgets_within(flops: np.ndarray, tolerance: float) -> np.ndarray:
    """Groups of runs whose FLOPs differ by less than `tolerance`; (runs,), -1 for none.

    The densest window of width log(1 + tolerance) is a budget, then the densest of what is left
    (ties: the smaller compute), while it has at least 4 runs. Gaps would not do: in digitised or
    rounded data runs lie between the budgets and chain them into one. Groups are numbered by
    their compute, from 0. Raises `UserError` for a tolerance that is not above 0.
    """
    if not tolerance > 0:
        raise UserError(f"tolerance = {tolerance!r}: expected a number above 0, such as 0.1")
    x = np.log(flops)
    free = np.ones(len(x), bool)
    windows = []
    while True:
        inside = free & (x >= x[:, None]) & (x - x[:, None] <= np.log1p(tolerance)) & free[:, None]
        sizes = inside.sum(axis=1)
        best = np.lexsort((x, -sizes))[0]
        if sizes[best] < MIN_RUNS:
            break
        windows.append(inside[best])
        free &= ~inside[best]
    group = np.full(len(x), -1)
    for number, window in enumerate(sorted(windows, key=lambda w: x[w].mean())):
        group[window] = number
    return group
