"""One picture of a fit: the law against what was measured, and its residuals against compute."""

import numpy as np

from scaling.laws.law_fit import LawFit, columns_of


def plot(law: LawFit, path: str | None = None):
    """Draws a law; returns the matplotlib figure, and writes it to `path` if one is given.

    Left: measured against fitted, one dot a run. Right: residuals in percent, against compute where
    the runs have it, else against the law's first column, with the band of one run's noise.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = columns_of(law.form, law.runs)
    fitted = np.exp(law.form.log_value(law.point.theta, columns)[0])
    measured = law.runs.loss
    along = ("training FLOPs", law.runs.flops) if law.runs.flops is not None else (
        law.form.columns[0], columns[law.form.columns[0]])
    figure = Figure(figsize=(9.6, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    low, high = min(fitted.min(), measured.min()), max(fitted.max(), measured.max())
    left.plot([low, high], [low, high], color="0.6", linewidth=1)
    dots = left.scatter(fitted, measured, c=np.log10(along[1]), s=14, cmap="viridis")
    figure.colorbar(dots, ax=left, label=f"log10 {along[0]}")
    left.set(xlabel=f"{law.form.target} by the law", ylabel=f"{law.form.target} measured",
             title=f"{law.law}: {law.form.target} = {law.form.formula}")
    if low > 0 and high > 10 * low:
        left.set(xscale="log", yscale="log")
    left.title.set_fontsize(9)
    right.axhspan(-100 * law.noise, 100 * law.noise, color="0.9", zorder=0)
    right.axhline(0, color="0.6", linewidth=1)
    right.scatter(along[1], 100 * np.expm1(np.log(measured) - np.log(fitted)), s=14, color="#0072b2")
    right.set(xscale="log", xlabel=along[0], ylabel="measured minus law, %")
    right.set_title(f"{len(measured)} runs; band: run-to-run noise {100 * law.noise:.2f}%", fontsize=9)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    if path is not None:
        figure.savefig(path, dpi=150, metadata={"Date": None} if str(path).endswith(".svg") else None)
    return figure
