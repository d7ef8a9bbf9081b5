"""Training loss of all runs against tokens."""

import numpy as np

from scaling.report.figures.panel import Panel
from scaling.report.markup import Html
from scaling.report.numbers import is_number, scientific, tick_count
from scaling.report.palette import budget
from scaling.results import RunRecord

_POINTS = 60  # a curve, evenly in log tokens


def training_curves(sweep: list[RunRecord], targets: list[RunRecord]) -> Html | None:
    """Curves averaged within equal steps of log tokens; None where no record has a curve."""
    curves = [(record, _thinned(record)) for record in [*sweep, *targets]]
    curves = [(record, curve) for record, curve in curves if curve is not None]
    if not curves:
        return None
    budgets = sorted({r.tags["budget"] for r in sweep if is_number(r.tags.get("budget"))})
    panel = Panel("training", "training tokens", "training loss (nats per token)")
    panel.log_x(np.concatenate([tokens for _, (tokens, _) in curves]), tick_count)
    chosen = {r.run_id for r in targets}
    for record, (tokens, loss) in curves:
        if record.run_id in chosen:
            colour, width = "measured", 2.0
        elif record.tags.get("budget") in budgets:
            colour, width = budget(budgets.index(record.tags["budget"]), len(budgets)), 1.0
        else:
            colour, width = "muted", 1.0
        panel.line(tokens, loss, colour, width=width)
    for i, flops in reversed(list(enumerate(budgets))):
        panel.key("line", budget(i, len(budgets)), f"{scientific(flops, 2)} FLOPs")
    if any(record.run_id in chosen for record, _ in curves):
        panel.key("line", "measured", "the run foretold")
    return panel.figure(
        "Training loss", "Each run's training loss, averaged over equal steps of log tokens."
    )


def _thinned(record: RunRecord) -> tuple[np.ndarray, np.ndarray] | None:
    lines = [p for p in record.curve if p.get("loss") is not None and p.get("n_tokens")]
    if len(lines) < 2:
        return None
    tokens, loss = (np.array([p[k] for p in lines], float) for k in ("n_tokens", "loss"))
    edges = np.geomspace(tokens[0], tokens[-1], _POINTS + 1)[1:-1]
    cell = np.digitize(tokens, edges)
    weight = np.bincount(cell)
    full = weight > 0
    sums = (np.bincount(cell, values)[full] for values in (np.log(tokens), loss))
    log_tokens, mean_loss = (total / weight[full] for total in sums)
    return np.exp(log_tokens), mean_loss
