"""The next runs: those that narrow a target's interval most, within a budget."""

import dataclasses

import numpy as np

from scaling.errors import UserError
from scaling.laws.design.candidates import Candidates, check_law
from scaling.laws.design.information import covariance_root, row_weights, sensitivities
from scaling.laws.design.selection import Choice
from scaling.laws.design.targets import Target, target
from scaling.laws.law_fit import LawFit, columns_of
from scaling.laws.uncertainty.bootstrap import interval

MOST_RUNS = 50
_FIXED = 1e-6  # standard deviation of a target, in the noise of one run, that is rounding


@dataclasses.dataclass(frozen=True)
class ProposedRun:
    """candidate: its index among the candidates. gain: by how much it narrows the interval, as a share of
    the width that the runs before it leave. share: of the budget."""

    candidate: int
    n_params: int
    n_tokens: int
    flops: float
    gain: float
    share: float


@dataclasses.dataclass(frozen=True)
class Proposal:
    """The next runs, most gain first; a point proposed twice is two runs that differ in seed.

    interval_now: of the target, by the law's own draws. interval_after: expected of the same method with
    the proposed runs; its ends are nearer to the value by `narrowing`, which is the ratio of the
    delta method's standard deviations and so takes new runs to be as noisy as those that are there.
    for_less: (budget, narrowing) of the best as many runs for a tenth and a hundredth of the budget, where
    something costs so little. draws: of the law, over which the choice was averaged; 0 is the fitted
    law alone.
    """

    target: str
    value: float
    runs: tuple[ProposedRun, ...]
    interval_now: tuple[float, float]
    interval_after: tuple[float, float]
    narrowing: float
    for_less: tuple[tuple[float, float], ...]
    budget: float
    level: float
    n_candidates: int
    draws: int

    @property
    def flops(self) -> float:
        """Of all proposed runs."""
        return sum(run.flops for run in self.runs)

    def to_json(self) -> dict:
        return {**dataclasses.asdict(self), "flops": self.flops}


def propose(
    law: LawFit,
    goal: str,
    budget: float,
    runs: int = 3,
    candidates: Candidates | None = None,
    draws: int = 16,
    repeats: bool = True,
) -> Proposal:
    """Up to `runs` runs costing at most `budget` FLOPs together, that narrow the goal's interval most.

    goal: as `targets.target` reads it. candidates: what may be run; by default `Candidates.around` the
    law's runs. draws: of the law's bootstrap, over which the log variance is averaged, so that no run
    is chosen for a law that is only one of many; 0 trusts the fitted law alone. repeats: whether one
    candidate may be proposed twice. Deterministic. Raises `UserError` for a law that is not one of
    N and D, for one that fixes the goal, and for a goal, budget or count that cannot be.
    """
    check_law(law)
    if not (np.isfinite(budget) and budget > 0):
        raise UserError(f"budget {budget!r}: expected FLOPs above 0")
    if not 1 <= runs <= MOST_RUNS:
        raise UserError(f"{runs} runs: expected 1 to {MOST_RUNS}")
    if draws < 0:
        raise UserError(f"{draws} draws: expected at least 0")
    theta = law.point.theta
    wanted = target(goal, law.form, law.relation, float(law.runs.flops.max()))
    candidates = Candidates.around(law, budget) if candidates is None else candidates
    if candidates.flops.min() > budget * (1 + 1e-9):
        raise UserError(f"a budget of {budget:.3g} FLOPs is below the cheapest candidate,"
                        f" {candidates.flops.min():.3g}")
    here = _whitened(law, theta, wanted, candidates)
    if not np.isfinite(here[0]).all():
        raise UserError(f"target {goal!r}: this fit of {law.law} has no such number")
    if np.linalg.norm(here[0]) < _FIXED:
        raise UserError(f"target {goal!r}: {law.law} fixes it, whatever is measured")
    drawn = [_try_whitened(law, t, wanted, candidates) for t in law.draws[:draws]]
    drawn = [w for w in drawn if w is not None]
    choice = _choice(drawn or [here], candidates, budget, repeats)
    trusting = _choice([here], candidates, budget, repeats)
    ordered, left = trusting.in_order_of_gain(choice.best(runs))
    less = [b for b in (budget / 10, budget / 100) if b >= candidates.flops.min()]
    cheaper = [dataclasses.replace(choice, budget=b).best(runs) for b in less]
    middle, spread = wanted.function(theta[None])[0], wanted.function(law.draws)
    now = np.array(interval(spread[np.isfinite(spread)], law.level))
    return Proposal(
        target=goal,
        value=wanted.in_its_units(middle),
        runs=tuple(
            ProposedRun(i, round(float(candidates.n_params[i])), round(float(candidates.n_tokens[i])),
                        float(candidates.flops[i]), 1 - after / before,
                        float(candidates.flops[i] / budget))
            for i, before, after in zip(ordered, left, left[1:])
        ),
        interval_now=tuple(wanted.in_its_units(end) for end in now),
        interval_after=tuple(wanted.in_its_units(end) for end in middle + left[-1] * (now - middle)),
        narrowing=1 - left[-1],
        for_less=tuple((b, 1 - trusting.width(best)) for b, best in zip(less, cheaper)),
        budget=float(budget),
        level=law.level,
        n_candidates=len(candidates),
        draws=len(drawn),
    )


def _choice(whitened: list[tuple], candidates: Candidates, budget: float, repeats: bool) -> Choice:
    h, z = (np.stack(part) for part in zip(*whitened))
    return Choice(h, z, candidates.flops, budget, repeats)


def _whitened(
    law: LawFit, theta: np.ndarray, wanted: Target, candidates: Candidates
) -> tuple[np.ndarray, np.ndarray]:
    """The target's gradient (p,) and the candidates (candidates, p) where the runs' information is 1."""
    rows = sensitivities(law.form, theta, columns_of(law.form, law.runs))
    root = covariance_root(rows, row_weights(law.runs))
    return wanted.gradient(theta) @ root, sensitivities(law.form, theta, candidates.columns) @ root


def _try_whitened(*args) -> tuple[np.ndarray, np.ndarray] | None:
    """None for a draw of the law that the runs do not determine, or that has no such target."""
    try:
        with np.errstate(all="ignore"):
            h, z = _whitened(*args)
    except UserError:
        return None
    return (h, z) if np.isfinite(h).all() and np.isfinite(z).all() else None
