"""N*(C) and D*(C): where compute should go, by both approaches."""

import numpy as np

from scaling.report.analysis import Analysis
from scaling.report.figures.panel import Panel
from scaling.report.markup import Html
from scaling.report.numbers import count, decimals, tick, tick_count


def allocation(analysis: Analysis, which: str) -> Html:
    """which: `n_opt` or `d_opt`."""
    symbol, words = {"n_opt": ("N", "parameters"), "d_opt": ("D", "training tokens")}[which]
    fits = analysis.fits
    laws = {"isoflop": fits.isoflop, "chinchilla": fits.chinchilla}
    parabolas = fits.isoflop.budgets if fits.isoflop else ()
    targets = analysis.sealed["targets"] if analysis.sealed else []
    panel = Panel(which.replace("_", "-"), "training compute C (FLOPs)", f"{words} {symbol}*",
                  height=290)
    panel.log_x([*fits.runs.flops, *(t["train_flops"] for t in targets)], tick)
    grid = np.geomspace(*panel.axes.get_xlim(), 60)
    seen = [getattr(p, which) for p in parabolas]
    for name, law in laws.items():
        if law is None:
            continue
        at = [law.optimal(c) for c in grid]
        low, high = zip(*(a[f"{which}_interval"] for a in at))
        panel.band(grid, low, high, name)
        panel.line(grid, [a[which] for a in at], name, dashed=name == "chinchilla")
        seen += [min(low), max(high)]
        number = {"isoflop": 2, "chinchilla": 3}[name]
        panel.key("line" if name == "isoflop" else "dash", name,
                  f"approach {number}: {symbol}* ∝ C^{{{decimals(law.exponents[which], 2)}}}")
    panel.log_y(seen, tick_count)
    for parabola in parabolas:
        tip = f"{parabola.flops:.3g} FLOPs: {symbol}* = {count(getattr(parabola, which))}"
        panel.point(parabola.flops, getattr(parabola, which), "ink", tip, marker="D", size=7,
                    zorder=4)
    if parabolas:
        panel.key("diamond", "ink", "IsoFLOP minima")
    column = {"n_opt": "n_params", "d_opt": "n_tokens"}[which]
    for target in targets:
        tip = f"{target['run_id']}: {symbol} = {count(target[column])}"
        panel.point(target["train_flops"], target[column], "forecast", tip, marker="o", size=8,
                    hollow=True, zorder=5)
    if targets:
        panel.key("ring", "forecast", "the run foretold")
    return panel.figure(f"{symbol}*(C), compute-optimal {words}")
