"""What mis-tuning the target will cost, and whether to go ahead.

Near the optimum the loss is a parabola in log2 of the rate with curvature c, so the expected loss
for training at a predicted rate is c (variance + bias^2), in nats.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from scaling.accounting import exact_train_flops
from scaling.models import ModelConfig
from scaling.parametrizations.coordinate_check import CoordinateCheck
from scaling.sweeps.transferred import Prediction
from scaling.transfer.cells import Cell
from scaling.transfer.file import TransferFile

MAX_DRIFT = 0.5  # octaves


@dataclasses.dataclass(frozen=True)
class Regret:
    """nats: expected. flops: of the target's run. equivalent_share: compute that buys as much, over
    the run's; None where the proxies' loss does not fall with compute."""

    nats: float
    flops: float
    equivalent_share: float | None


def regret_at(
    transfer: TransferFile, model: ModelConfig, n_tokens: float, best: Prediction
) -> Regret:
    """The proxies' loss at their optima is taken as a power of compute without a floor, L ~ C^-g:
    that is the steepest reading of it, so the equivalent compute is a lower bound."""
    n_examples = n_tokens / transfer.base.data.sequence_length
    flops = float(exact_train_flops(model, transfer.base.lengths)) * n_examples
    slope, share = _compute_slope(transfer.cells), None
    if slope is not None:
        exponent, at_unit = slope
        loss = math.exp(at_unit) * flops**-exponent
        share = math.expm1(best.mistuning_nats / (exponent * loss))
    return Regret(best.mistuning_nats, flops, share)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """go, and every reason against it."""

    go: bool
    reasons: tuple[str, ...]

    @property
    def line(self) -> str:
        return "GO" if self.go else "NO-GO: " + "; ".join(self.reasons)


def verdict(
    transfer: TransferFile, regret: Regret, checks: Sequence[CoordinateCheck] = ()
) -> Verdict:
    """GO if the furthest verified mid-size's optimum lies in the interval foretold for it, drifted by at
    most `MAX_DRIFT`, the expected regret is within the study's budget, and no slope of `checks`, if they
    were made, is out of bounds."""
    reasons = []
    if not transfer.verifications:
        reasons.append("no mid-size was verified (scaling transfer verify)")
    else:
        last = transfer.verifications[-1]
        if last.drift is None:
            reasons.append(
                f"at {last.shape} the optimum lies {last.beyond}: it drifted by more than half an"
                " octave, and how far is not known"
            )
        else:
            if not last.inside:
                reasons.append(f"the optimum at {last.shape} lies outside the interval foretold")
            if abs(last.drift) > MAX_DRIFT:
                reasons.append(
                    f"at {last.shape} it drifted by {last.drift:+.2f} octaves, more than {MAX_DRIFT};"
                    " the rules now carry the drift on to the target"
                )
    if regret.nats > transfer.regret_budget:
        reasons.append(
            f"expected regret {regret.nats:.4f} nats, over the budget of {transfer.regret_budget:g}"
        )
    for check in checks:
        if check.failures:
            reasons.append(f"{len(check.failures)} slopes out of bounds along {check.axis}"
                           f" ({check.failures[0]})")
    return Verdict(not reasons, tuple(reasons))


def _compute_slope(cells: Sequence[Cell]) -> tuple[float, float] | None:
    """(g, log of the loss at C = 1) of the lower envelope of loss against compute."""
    frontier: list[Cell] = []
    for cell in sorted(cells, key=lambda c: (c.train_flops, c.loss)):
        if not frontier or cell.loss < frontier[-1].loss:
            frontier.append(cell)
    log_flops = np.log([c.train_flops for c in frontier])
    if np.ptp(log_flops) < math.log(1.5):
        return None
    slope, at_unit = np.polyfit(log_flops, np.log([c.loss for c in frontier]), 1)
    return (-float(slope), float(at_unit)) if slope < 0 else None
