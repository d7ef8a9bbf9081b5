"""Loss against compute: minima, laws, and the sealed forecast with the run that tested it."""

import numpy as np

from scaling.report.analysis import Analysis
from scaling.report.figures.panel import Panel
from scaling.report.markup import Html
from scaling.report.numbers import decimals, interval, tick
from scaling.report.palette import budget


def loss_against_compute(analysis: Analysis) -> Html:
    fits, runs = analysis.fits, analysis.fits.runs
    targets = analysis.sealed["targets"] if analysis.sealed else []
    flops = [*runs.flops, *(t["train_flops"] for t in targets)]
    panel = Panel("compute", "training compute C (FLOPs)", "validation loss (nats per token)")
    panel.log_x(flops, tick)
    grid = np.geomspace(*panel.axes.get_xlim(), 80)
    for i, run_id in enumerate(runs.run_ids):
        colour = budget(int(runs.budgets[i]), runs.n_budgets)
        panel.point(runs.flops[i], runs.loss[i], colour, f"{run_id}\nloss {runs.loss[i]:.4f}",
                    size=4.5, alpha=0.55)
    panel.key("dot", "budget-4", "runs of the sweep")
    _laws(panel, analysis, grid)
    for target in targets:
        _forecast(panel, target, analysis.level)
    if targets:
        panel.key("bar", "forecast",
                  f"sealed forecast, {100 * analysis.level:.0f}% predictive interval")
    _measured(panel, analysis)
    caption = f"Bands are {100 * fits.level:.0f}% bootstrap intervals of a law"
    caption += ", the bar is one of a new run." if targets else "."
    if fits.isoflop is not None and fits.isoflop.frontier is not None:
        caption = f"The frontier is a power law with offset through the minima. {caption}"
    return panel.figure("Loss against compute", caption)


def _laws(panel: Panel, analysis: Analysis, grid: np.ndarray) -> None:
    fits = analysis.fits
    if fits.isoflop is not None and fits.isoflop.frontier is not None:
        at = [fits.isoflop.optimal(c) for c in grid]
        panel.band(grid, *zip(*(a["interval"] for a in at)), "isoflop")
        panel.line(grid, [a["loss"] for a in at], "isoflop")
        panel.key("line", "isoflop", "frontier L*(C), approach 2")
    if fits.chinchilla is not None:
        at = [fits.chinchilla.optimal(c) for c in grid]
        panel.band(grid, *zip(*(a["interval"] for a in at)), "chinchilla")
        panel.line(grid, [a["loss"] for a in at], "chinchilla", dashed=True)
        panel.key("dash", "chinchilla", "parametric law at its optimum, approach 3")
    for parabola in fits.isoflop.budgets if fits.isoflop else ():
        tip = f"minimum at {parabola.flops:.3g} FLOPs\nloss {parabola.loss_opt:.4f}"
        panel.point(parabola.flops, parabola.loss_opt, "ink", tip, marker="D", size=7, zorder=4)
    if fits.isoflop is not None:
        panel.key("diamond", "ink", "IsoFLOP minima")


def _forecast(panel: Panel, target: dict, level: float) -> None:
    told = target["prediction"]
    tip = (f"sealed forecast for {target['run_id']}\n{decimals(told['loss'], 4)} nats,"
           f" {100 * level:.0f}% {interval(told['predictive_interval'])}")
    panel.error_bar(target["train_flops"], told["loss"], told["predictive_interval"],
                    "forecast", tip)


def _measured(panel: Panel, analysis: Analysis) -> None:
    convention = analysis.folder.flops_convention
    done = [r for r in analysis.target_records if r.status == "ok" and r.final]
    for record in done:
        flops = record.train_flops[convention]
        tip = (f"{record.run_id}\nmeasured {decimals(record.final.loss, 4)} nats"
               f" at {flops:.3g} FLOPs")
        panel.point(flops, record.final.loss, "measured", tip, size=13,
                    hollow=True, zorder=6)
    if done:
        panel.key("ring", "measured", "measured afterwards")
