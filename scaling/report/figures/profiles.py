"""IsoFLOP curves: loss against N at each budget, with their parabolas and minima."""

import numpy as np

from scaling.laws import LawFits
from scaling.report.figures.panel import Panel
from scaling.report.markup import Html
from scaling.report.numbers import count, decimals, scientific, tick, tick_count
from scaling.report.palette import budget


def profiles(fits: LawFits) -> Html:
    runs = fits.runs
    panel = Panel("profiles", "parameters N", "validation loss (nats per token)")
    panel.log_x(runs.n_params, tick_count)
    parabolas = fits.isoflop.budgets if fits.isoflop else ()
    fitted = {run_id for parabola in parabolas for run_id in parabola.run_ids}
    for i, run_id in enumerate(runs.run_ids):
        colour = budget(int(runs.budgets[i]), runs.n_budgets)
        tip = (f"{run_id}\nN = {count(runs.n_params[i])}, D = {count(runs.n_tokens[i])}\n"
               f"loss {decimals(runs.loss[i], 4)}")
        panel.point(runs.n_params[i], runs.loss[i], colour, tip, hollow=run_id not in fitted)
    for parabola in parabolas:
        colour = budget(int(runs.budgets[parabola.rows[0]]), runs.n_budgets)
        sizes = np.geomspace(parabola.n_params.min(), parabola.n_params.max(), 60)
        panel.line(sizes, parabola.loss_at(sizes), colour)
        panel.label(sizes[-1], parabola.loss_at(sizes)[-1], tick(parabola.flops))
        tip = (f"minimum at N = {count(parabola.n_opt)}, D = {count(parabola.d_opt)}\n"
               f"loss {decimals(parabola.loss_opt, 4)}")
        panel.point(parabola.n_opt, parabola.loss_opt, "ink", tip, marker="D", size=7, zorder=4)
    for group in reversed(range(runs.n_budgets)):
        flops = float(np.exp(np.log(runs.flops[runs.budgets == group]).mean()))
        panel.key("line", budget(group, runs.n_budgets), f"{scientific(flops, 2)} FLOPs")
    panel.key("diamond", "ink", "minimum of a parabola")
    if len(fitted) < len(set(runs.run_ids)):
        panel.key("ring", "muted", "in no parabola")
    return panel.figure(
        "IsoFLOP curves",
        "Final validation loss of every run against its size, one colour a compute budget, with"
        " parabolas in log N by least squares (approach 2).",
    )
