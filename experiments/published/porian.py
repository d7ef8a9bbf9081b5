"""Fifteen settings between Kaplan's and Hoffmann's exponents (Porian et al. 2024)."""

import numpy as np
import pandas as pd
from comparison import CONVENTION, Comparison, compare
from refits import Published, refit

from scaling.errors import UserError
from scaling.laws.approaches.isoflop import fit_isoflop
from scaling.laws.forms.grammar import SumOfPowers, term
from scaling.laws.table.runs import usable_runs

DATA = "porian"
OPTIMA, RUNS = "porian_optima.csv", "porian_isoflop.csv"
SETTING = ["dataset", "hparams", "warmup", "decay", "flop_count", "split"]
WINDOW = 5.0  # sizes within this factor of the budget's lowest loss: a parabola holds no further

GROWTH = SumOfPowers(name="growth", source="Porian et al. 2024", formula="G C^a", target="n_params",
                     terms=(term("G", a="1/flops"),))


def comparisons(published: Published) -> list[Comparison]:
    optima, runs = published.read(OPTIMA), published.read(RUNS)
    rows = []
    for setting, part in optima.groupby(SETTING):
        stored = float(part.published_n_exponent.iloc[0])
        fitted = refit(
            GROWTH, {"flops": part.flops.to_numpy()}, part.n_params.to_numpy(),
            replicates=published.replicates, objective="log_squares",
            weights=1.0 / part.n_star_std.to_numpy() ** 2,
        )
        rows.append(compare(
            DATA, " ".join(setting), "N* ~ C^a, their optima", stored, fitted.params["a"],
            interval=fitted.interval("a"), source="formll, data/summary_*.pickle", exponent=True,
        ))
        rows.append(_by_parabolas(published, setting, stored, runs))
    return rows


def _by_parabolas(published: Published, setting: tuple, stored: float, runs: pd.DataFrame) -> Comparison:
    """Approach 2 from the runs themselves: parabolas, where Porian et al. interpolate (Akima)."""
    part = runs[(runs[SETTING] == list(setting)).all(axis=1)]
    lowest = part.loc[part.groupby("flops").loss.idxmin()].set_index("flops").n_params
    near = np.abs(np.log(part.n_params / part.flops.map(lowest))) <= np.log(WINDOW)
    table = part[near].assign(train_flops=part.flops, tag_budget=part.flops)
    columns = ["n_params", "n_tokens", "train_flops", "tag_budget", "loss"]
    shared = dict(source="formll, data/summary_*.pickle", otherwise=CONVENTION, exponent=True)
    quantity = "N* ~ C^a, our approach 2"
    try:
        law = fit_isoflop(usable_runs(table[columns]), bootstrap=max(published.replicates, 100))
    except UserError as refusal:
        return compare(DATA, " ".join(setting), quantity, stored, None, why=str(refusal), **shared)
    exponents = law.exponents
    used = f"{len(law.budgets)} of {part.flops.nunique()} budgets"
    return compare(
        DATA, " ".join(setting), quantity, stored, exponents["n_opt"],
        interval=exponents["n_opt_interval"],
        why=f"parabolas within a factor {WINDOW:.0f} of the lowest loss, {used}; theirs: Akima, weighted",
        **shared,
    )
