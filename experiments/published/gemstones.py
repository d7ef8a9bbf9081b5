"""The 42 fits that Gemstones stores (McLeish et al. 2025), and how far from its optimum each one is."""

import pathlib

import numpy as np
import pandas as pd
from comparison import OURS_ONLY, Comparison, compare
from refits import Published, Refit, columns_of, refit

from scaling.laws.forms.chinchilla import CHINCHILLA
from scaling.laws.forms.shape import WIDTH_DEPTH, WIDTH_DEPTH_PARAMS

DATA = "gemstones"
STORED = pathlib.Path(__file__).with_name("gemstones_stored_fits.csv")
SLIM = "slim_chinchilla"
# Which column each parameter of a form belongs to, in the order of the stored lists.
FORMS = {
    "N D": (CHINCHILLA, ("A", "B"), ("alpha", "beta")),
    "width depth D": (WIDTH_DEPTH, ("A", "B", "C"), ("alpha", "beta", "gamma")),
    "width depth N D": (WIDTH_DEPTH_PARAMS, ("A", "B", "C", "F"), ("alpha", "beta", "gamma", "delta")),
}


def comparisons(published: Published) -> list[Comparison]:
    rows = []
    for stored in pd.read_csv(STORED).itertuples():
        frame = table(published, stored.table)
        form, coefficients, exponents = FORMS[stored.form]
        checkpoints = "run_name" in frame
        with_interval = stored.form == "N D" and stored.delta == 1e-3
        law = refit_stored(stored, frame, published.replicates if with_interval else 0)
        params = {
            "E": np.exp(stored.ln_E),
            **dict(zip(coefficients, np.exp(_numbers(stored.ln_coefficients)))),
            **dict(zip(exponents, _numbers(stored.exponents))),
        }
        excess = stored.objective / law.point.objective - 1.0
        fit = (f"{stored.table}{'' if stored.embeddings else ', no embeddings'}, {stored.form},"
               f" delta {stored.delta:g}")
        clustered = "clustered by run" if checkpoints else "rows are runs"
        for name in exponents:
            rows.append(compare(
                DATA, fit, name, params[name], law.params[name], interval=law.interval(name),
                excess=excess, exponent=True, source="mcleish7, parameters_delta-*",
                why=f"stored {100 * excess:.3g}% above the optimum"
                    + (f"; interval {clustered}" if with_interval else ""),
            ))
    return rows + _clusters(published)


def refit_stored(stored, frame: pd.DataFrame, replicates: int = 0) -> Refit:
    size = "n_params" if stored.embeddings else "n_nonemb"
    form = FORMS[stored.form][0]
    others = [name for name in form.columns if name != "n_params"]
    columns = columns_of(frame, *others, **({"n_params": size} if "n_params" in form.columns else {}))
    runs = frame.run_name.to_numpy() if "run_name" in frame else None
    return refit(form, columns, frame.loss.to_numpy(), runs, replicates, delta=stored.delta)


def table(published: Published, name: str) -> pd.DataFrame:
    """One of Gemstones' tables. Its 28 Chinchilla runs are rows of the Epoch data: those of
    `lr_ablation_slim_chinchilla`, and one more, of the most tokens at that size."""
    if name != SLIM:
        return published.read(f"gemstones_{name}.csv")
    chosen = published.read(f"gemstones_lr_ablation_{SLIM}.csv")
    epoch = published.read("chinchilla_epoch.csv")
    size = chosen.n_params.iloc[-1]
    more = epoch[np.isclose(epoch.n_params, size, rtol=1e-9)].nlargest(1, "n_tokens")
    return pd.concat([chosen, more], ignore_index=True)[["n_params", "n_tokens", "loss"]]


def _clusters(published: Published) -> list[Comparison]:
    """Checkpoints of a run share its noise, so runs are resampled. What resampling rows does instead."""
    frame = table(published, "hot")
    columns, loss = columns_of(frame, "n_params", "n_tokens"), frame.loss.to_numpy()
    rows = []
    for words, runs in (("runs resampled", frame.run_name.to_numpy()), ("rows resampled", None)):
        law = refit(CHINCHILLA, columns, loss, runs, published.replicates)
        for name in ("alpha", "beta"):
            rows.append(compare(
                DATA, f"hot, {words}", name, None, law.params[name], interval=law.interval(name),
                otherwise=OURS_ONLY, why=f"{frame.run_name.nunique()} runs, {len(frame)} checkpoints",
            ))
    return rows


def _numbers(words: str) -> list[float]:
    return [float(word) for word in words.split()]
