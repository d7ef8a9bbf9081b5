"""The picture of a coordinate check."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np

from scaling.parametrizations.coordinate_check.check import CoordinateCheck

KINDS = {
    "tap": "change of activations",
    "update": "effective change of leaves",
    "epsilon": "gradient over epsilon",
}


def plot_coordinate_check(checks: Sequence[CoordinateCheck], path: str, title: str = "") -> None:
    """One row an axis, one panel a kind; lines are sizes relative to the base, red if out of bounds."""
    figure, panels = plt.subplots(
        len(checks), len(KINDS), figsize=(4.2 * len(KINDS), 3.4 * len(checks)), squeeze=False,
        layout="constrained",
    )
    for row, check in zip(panels, checks):
        for panel, (kind, label) in zip(row, KINDS.items()):
            worst = [np.inf, -np.inf]
            for finding in check.findings:
                if finding.kind != kind or finding.bounds is None:
                    continue
                relative = np.array(finding.values) / finding.values[0]
                colour = "#8c959e" if finding.ok else "#b3261e"
                panel.plot(check.factors, relative, color=colour, lw=1, marker="o", ms=3)
                worst = [min(worst[0], finding.slope), max(worst[1], finding.slope)]
            if worst[0] > worst[1]:
                panel.set_axis_off()
                panel.set_title(f"{label}\nno bounds along {check.axis}", fontsize=9)
                continue
            panel.set(xscale="log", yscale="log", xlabel=f"{check.axis} over the base's")
            panel.set_xscale("log", base=2)
            panel.set_yscale("log", base=2)
            panel.set_xticks(check.factors, [str(f) for f in check.factors])
            low, high = panel.get_ylim()
            panel.set_ylim(min(low, 0.5), max(high, 2.0))
            out = [f.name.split("/")[-1] for f in check.failures if f.kind == kind]
            if out:
                panel.text(0.03, 0.97, "out of bounds:\n" + "\n".join(out), color="#b3261e",
                           fontsize=7, va="top", transform=panel.transAxes)
            panel.set_title(f"{label}\nslopes {worst[0]:+.2f} to {worst[1]:+.2f}", fontsize=9)
    figure.suptitle(title)
    figure.savefig(path, dpi=120)
    plt.close(figure)
