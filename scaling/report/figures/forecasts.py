"""The approaches' forecasts of one run beside each other, and what was measured."""

from scaling.report.figures.panel import Panel
from scaling.report.markup import Html
from scaling.report.numbers import decimals, interval
from scaling.report.palette import reserved

APPROACHES = {
    "isoflop": "approach 2",
    "chinchilla": "approach 3",
}


def by_number(item: tuple[str, dict]) -> str:
    """Sorts (law, forecast) pairs: approach 2 before approach 3."""
    return APPROACHES.get(item[0], item[0])


def forecasts(target: dict, actual: float | None, level: float) -> Html | None:
    """target: of a seal; actual: measured loss in nats, None if there is none yet."""
    told = sorted((target["prediction"].get("approaches") or {}).items(), key=by_number)
    if not told:
        return None
    panel = Panel("forecasts", "validation loss (nats per token)", "", height=80 + 44 * len(told))
    for row, (name, one) in enumerate(told):
        tip = f"{decimals(one['loss'], 4)} nats, {interval(one['predictive_interval'])}"
        panel.error_bar(one["loss"], row, one["predictive_interval"],
                        "forecast" if name == target["prediction"]["method"] else name, tip, across=True)
    axes = panel.axes
    axes.set_yticks(range(len(told)), [APPROACHES.get(name, name) for name, _ in told])
    axes.set_ylim(len(told) - 0.5, -0.5)
    axes.grid(False, axis="y")
    if actual is not None:
        axes.axvline(actual, color=reserved("measured"), lw=2)
        panel.key("line", "measured", f"measured, {decimals(actual)}")
    panel.key("bar", "muted", f"forecast, {100 * level:.0f}% predictive interval")
    return panel.figure("Forecasts by approach")
