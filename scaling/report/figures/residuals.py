"""How far the runs lie from the parametric law."""

import numpy as np

from scaling.laws import LawFits
from scaling.report.figures.panel import Panel
from scaling.report.markup import Html
from scaling.report.numbers import decimals, percent, tick_count
from scaling.report.palette import budget, reserved


def residuals(fits: LawFits) -> Html:
    """Measured over fitted loss, in percent; the band is one standard deviation of the noise."""
    law, runs = fits.chinchilla, fits.runs
    off = -100 * np.expm1(law.point.log_residuals)
    noise = 100 * law.noise
    panel = Panel("residuals", "parameters N", "measured − law (%)", height=290)
    panel.log_x(runs.n_params, tick_count)
    panel.band(panel.axes.get_xlim(), [-noise] * 2, [noise] * 2, "chinchilla")
    panel.axes.axhline(0, color=reserved("axis"), lw=1)
    for i, run_id in enumerate(runs.run_ids):
        colour = budget(int(runs.budgets[i]), runs.n_budgets)
        panel.point(runs.n_params[i], off[i], colour,
                    f"{run_id}\nmeasured {decimals(runs.loss[i], 4)}, {percent(float(off[i]))}")
    reach = 1.15 * max(np.abs(off).max(), noise)
    panel.axes.set_ylim(-reach, reach)
    panel.key("dot", "budget-4", "runs, coloured by budget")
    panel.key("band", "chinchilla", f"noise about the law, ±{decimals(noise, 2)}%")
    return panel.figure("Residuals of the parametric law")
