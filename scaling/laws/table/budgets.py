"""Which runs share a budget, and groups of them along compute."""

import numpy as np
import pandas as pd

from scaling.laws.table.csv_table import numbers

MOST_GROUPS = 8
_GAP = 0.1  # runs whose FLOPs differ by less than 10% share a budget, where none is named


def budgets_of(frame: pd.DataFrame, flops: np.ndarray | None) -> np.ndarray:
    """Groups by the planner's nominal budget, else by gaps in FLOPs; ordered by FLOPs."""
    if "tag_budget" in frame:
        nominal = numbers(frame["tag_budget"])
        if np.isfinite(nominal).all():
            return np.unique(nominal, return_inverse=True)[1]
    if flops is None:
        return np.zeros(len(frame), int)
    return budgets_by_gaps(flops)


def budgets_by_gaps(flops: np.ndarray) -> np.ndarray:
    """Budget of each run, (runs,), from 0: a gap in FLOPs begins another."""
    order = np.argsort(flops, kind="stable")
    group = np.empty(len(flops), int)
    gaps = np.diff(np.log(flops[order])) > np.log1p(_GAP)
    group[order] = np.concatenate([[0], np.cumsum(gaps)])
    return group


def compute_groups(budgets: np.ndarray, flops: np.ndarray, most: int = MOST_GROUPS) -> np.ndarray:
    """Group of each run, (runs,), 0 for the least compute: for a hold-out that rolls along it.

    Groups are the budgets. Where there are more than `most`, they are shares of the runs, equal but for
    cuts that move, by half a share at most, to where one budget ends and the next begins. Only runs
    so many that no gap parts them are cut elsewhere.
    """
    if budgets.max() < most:
        return budgets
    order = np.lexsort((flops, budgets))
    ends = np.flatnonzero(np.diff(budgets[order])) + 1
    share = len(budgets) / most
    cuts = []
    for equal in np.ceil(share * np.arange(1, most)).astype(int):
        nearest = ends[np.abs(ends - equal).argmin()]
        if abs(nearest - equal) <= share / 2:
            cuts.append(nearest)
        elif np.ptp(np.log(flops[budgets == budgets[order[equal]]])) > np.log1p(_GAP):
            cuts.append(equal)
    group = np.empty(len(budgets), int)
    group[order] = np.searchsorted(np.unique(cuts), np.arange(len(budgets)), side="right")
    return group
