"""Training FLOPs of the runs: which column has them, and whether all rows count alike."""

import numpy as np
import pandas as pd

from scaling.errors import UserError
from scaling.laws.table.checks import checked, positive
from scaling.laws.table.csv_table import numbers

FLOPS = ("train_flops", "flops")  # columns of C: the one we write, and the one that others do
_MIXED = 1.5  # spread of C / (6 N D) about a smooth function of N that one convention may explain
_ABSURD = 100.0  # spread of C / (6 N D) that none explains
_AS_C = "C is read from column flops"


def flops_of(
    frame: pd.DataFrame, n_params: np.ndarray | None, n_tokens: np.ndarray | None, rows: np.ndarray,
    where: str, needed: bool = False,
) -> tuple[np.ndarray | None, list[str]]:
    """C of each row, (rows,), and what was assumed, in words.

    `train_flops` is taken at its word. `flops` is taken if it can be true: published tables have
    products that overflowed 64-bit integers, negative or far too small. Else C = 6 N D, with the
    active parameters for N where a column has them; None where there is no N or D either, unless it
    is `needed`. Raises `UserError` for a train_flops that is no positive number, and for rows whose
    C / (6 N D) are over 100 times apart.
    """
    rule, six_n_d = "6 N D", None
    if n_params is not None and n_tokens is not None:
        counted, active = counted_params(frame, n_params)
        rule, six_n_d = f"6 {counted} D", 6.0 * active * n_tokens
    if "train_flops" in frame and frame["train_flops"].notna().any():
        flops = checked(frame["train_flops"], rows, where)
        if six_n_d is None:
            return flops, []
        return flops, convention_notes(flops / six_n_d, n_params, rows, where, rule)
    if "flops" not in frame or frame["flops"].isna().all():
        return six_n_d, [] if six_n_d is None else [f"no column train_flops: C = {rule}"]
    flops = numbers(frame["flops"])
    bad = np.flatnonzero(~positive(flops))
    if six_n_d is None:
        if len(bad) and not needed:
            return None, [f"column flops is not used: {_bad_flops(frame, bad, rows)}"]
        return checked(frame["flops"], rows, where), [_AS_C]
    if len(bad):
        problem = _bad_flops(frame, bad, rows)
    else:
        try:
            return flops, [_AS_C, *convention_notes(flops / six_n_d, n_params, rows, where, rule)]
        except UserError as error:
            problem = str(error).removeprefix(f"{where}: ").split("; expected")[0]
    return six_n_d, [f"column flops is not used, C = {rule}: {problem}"]


def _bad_flops(frame: pd.DataFrame, bad: np.ndarray, rows: np.ndarray) -> str:
    return (f"{len(bad)} of its {len(rows)} values are no positive numbers (row {rows[bad[0]]}:"
            f" {frame['flops'].iloc[bad[0]]!s})")


def counted_params(frame: pd.DataFrame, n_params: np.ndarray) -> tuple[str, np.ndarray]:
    """The parameters that a token passes through, and what they are called: those of `n_active` in
    tables of mixtures of experts, else N."""
    for name in ("n_active", "n_active_params"):
        if name in frame and positive(numbers(frame[name])).all():
            return name, numbers(frame[name])
    return "N", n_params


def convention_notes(
    ratio: np.ndarray, n_params: np.ndarray, rows: np.ndarray, where: str, rule: str
) -> list[str]:
    """What C / (6 N D) says of the conventions behind the rows.

    One convention gives a ratio that is a smooth function of N (attention and embeddings weigh more
    in small models). Raises `UserError` for ratios further apart than any convention explains.
    """
    logs = np.log(ratio).round(9)  # of equal ratios the first row is named, whatever the last bits
    order = np.argsort(logs, kind="stable")
    low, high = int(np.argmin(logs)), int(np.argmax(logs))
    said = f"C / ({rule}) is {ratio[low]:.3g} in row {rows[low]} and {ratio[high]:.3g} in row {rows[high]}"
    if logs[high] - logs[low] > np.log(_ABSURD):
        cut = int(np.argmax(np.diff(logs[order]))) + 1
        fewer = np.sort(min(order[:cut], order[cut:], key=len))
        listed = ", ".join(str(rows[i]) for i in fewer[:5]) + (", .." if len(fewer) > 5 else "")
        raise UserError(
            f"{where}: mixed conventions or units: {said} ({len(fewer)} of {len(rows)} rows stand apart:"
            f" {listed}); expected n_params, n_tokens and train_flops counted alike in all rows"
        )
    middle = float(np.exp(np.median(logs)))
    if not 1 / _ABSURD < middle < _ABSURD:
        return [f"C / ({rule}) is about {middle:.2g}: are n_params or n_tokens in thousands, millions or"
                " billions?"]
    degree = min(2, len(rows) // 4)
    if degree and logs[high] - logs[low] > np.log(_MIXED):
        size = np.log(n_params) - np.log(n_params).mean()
        powers = np.vander(size, degree + 1)
        rest = logs - powers @ np.linalg.lstsq(powers, logs, rcond=None)[0]
        if np.ptp(rest) > np.log(_MIXED):
            return [f"mixed conventions? {said}, and it does not follow N: are N and C counted alike in"
                    " all rows?"]
    return []
