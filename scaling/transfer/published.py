"""Published rules for learning rate and batch, to show beside the fitted ones. Nothing is taken from here.

They disagree, and that is the point: each was fitted to one family, one optimizer and one range.
"""

import dataclasses
from collections.abc import Iterable


@dataclasses.dataclass(frozen=True)
class PublishedRule:
    """Exponents of the learning rate; None where the source says nothing.

    width: along N^(1/2), at fixed depth; batch: at fixed tokens; horizon: training tokens, where Step
    Law's batch follows its own best and others' is fixed; batch_horizon: best batch ~ D^this.
    """

    name: str
    width: float | None = None
    depth: float | None = None
    batch: float | None = None
    horizon: float | None = None
    batch_horizon: float | None = None


RULES = (
    PublishedRule("Step Law (Li et al. 2025)", width=2 * -0.713, horizon=0.307, batch_horizon=0.571),
    PublishedRule("Step Law's runs refitted", width=2 * -0.766, horizon=0.197, batch_horizon=0.613),
    PublishedRule("Step Law's runs, at fixed batch", width=2 * -0.60, batch=0.30, horizon=0.01),
    PublishedRule("Marin", batch=0.5, horizon=-0.3),
    PublishedRule("HyperP", horizon=-0.32),
    PublishedRule("nanochat", batch=0.5, batch_horizon=0.383),
)


def span(axis: str, rules: Iterable[PublishedRule] = RULES) -> tuple[float, float] | None:
    """Smallest and largest exponent along an axis; None where nobody says."""
    said = [value for rule in rules if (value := getattr(rule, axis)) is not None]
    return (min(said), max(said)) if said else None
