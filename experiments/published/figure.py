"""Every published number against ours: the relative difference, by data set."""

import pathlib

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
from comparison import (  # noqa: E402
    CONVENTION,
    DIFFERS,
    LOWER,
    REPLICATES,
    TOLERANCE,
    WITHIN,
    Comparison,
)

COLOURS = {REPLICATES: "#4c8c4a", WITHIN: "#7f7f7f", CONVENTION: "#3b6ea8", LOWER: "#d08a1d",
           DIFFERS: "#b8403a"}
TICKS = (-1, -0.1, -0.01, -0.001, 0, 0.001, 0.01, 0.1, 1, 10)
# What is worth finding in the cloud: data, words in the fit, quantity, label, offset in points.
BESIDE, BELOW = (6, -3), (-8, -13)
LABELS = (
    ("gemstones", "slim_chinchilla, N D, delta 0.0001", "alpha", "0.276, at the optimum 0.201", BELOW),
    ("gemstones", "hot_100bplus_512x, N D, delta 0.0001", "alpha", "1.42, at the optimum 4.89", BESIDE),
    ("muennighoff", "182 runs", "R_D*", "15.4, at the optimum 95", BESIDE),
    ("chinchilla", "Hoffmann's own", "beta", "Hoffmann's beta", BESIDE),
    ("steplaw", "lr", "beta", "exponent of D", BESIDE),
    ("embeddings", "N^(1/3)", "w", "47491 with the exponent 1/3", BESIDE),
)


def draw(rows: list[Comparison], path: pathlib.Path) -> None:
    """Exponents are filled, other numbers hollow. The axis is linear within the 0.1% that counts as
    agreement (shaded), and logarithmic beyond."""
    shown = [r for r in rows if r.difference is not None]
    names = list(dict.fromkeys(r.data for r in shown))
    rng = np.random.default_rng(0)
    height = {id(r): names.index(r.data) + rng.uniform(-0.3, 0.3) for r in shown}
    figure, axes = plt.subplots(figsize=(9.5, 5.6), layout="constrained")
    axes.axvspan(-TOLERANCE, TOLERANCE, color="0.93")
    for verdict, colour in COLOURS.items():
        part = [r for r in shown if r.verdict == verdict]
        for exponent in (True, False):
            some = [r for r in part if r.exponent == exponent]
            axes.scatter(
                [r.difference / abs(r.published) for r in some], [height[id(r)] for r in some], s=20,
                facecolor=colour if exponent else "none", edgecolor=colour, linewidth=0.9, zorder=3,
            )
        axes.scatter([], [], s=20, color=colour, label=f"{verdict} ({len(part)})")
    for data, fit, quantity, label, offset in LABELS:
        r = next((r for r in shown if r.data == data and fit in r.fit and r.quantity == quantity), None)
        if r is not None:
            axes.annotate(label, (r.difference / abs(r.published), height[id(r)]), fontsize=7,
                          xytext=offset, textcoords="offset points", color="0.25")
    axes.set_xscale("symlog", linthresh=TOLERANCE, linscale=0.6)
    axes.set_xticks(TICKS, [f"{100 * tick:g}%" for tick in TICKS])
    axes.set_xlim(-2, 100)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("ours over published, minus 1 (exponents filled, other numbers hollow)")
    axes.grid(axis="x", color="0.9", linewidth=0.6, zorder=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, loc="lower right", framealpha=0.9)
    figure.savefig(path, dpi=130)
    plt.close(figure)
