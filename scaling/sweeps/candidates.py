"""What a study's ladder could run next: whole steps of whole widths, within the study's own bounds."""

import dataclasses
from collections.abc import Sequence

from scaling.errors import UserError
from scaling.sweeps.plan import PlannedRun, price
from scaling.sweeps.study import Study
from scaling.sweeps.targets import WIDTH_STEP


def ladder_candidates(
    study: Study,
    n_train_tokens: int,
    flops: Sequence[float],
    d_models: Sequence[int] | None = None,
) -> list[PlannedRun]:
    """Runs of at most each of `flops`, at each width that fits the study there; trains nothing.

    d_models: by default the study's own, and multiples of `WIDTH_STEP` beyond them. A run has tokens
    per parameter (body and head) within the study's bounds, and reads the corpus at most
    `max_epochs` times. Raises `UserError` if none does.
    """
    plan, runs = study.plan, []
    wanted = sorted(set(plan.d_models if d_models is None else d_models))
    while wanted:
        d_model = wanted.pop(0)
        step = ladder_run(study, d_model, 1, n_train_tokens)
        low, high = (ratio * step.n_body_and_head / step.experiment.n_tokens
                     for ratio in (plan.min_tokens_per_param, plan.max_tokens_per_param))
        low, high = max(1, low), min(high, plan.max_epochs / step.epochs)
        steps = {int(c / step.train_flops[plan.flops_convention] * (1 + 1e-9)) for c in flops}
        runs += [ladder_run(study, d_model, n, n_train_tokens) for n in sorted(steps) if low <= n <= high]
        if d_models is None and not wanted and max(steps) >= low:
            wanted = [(d_model // WIDTH_STEP + 1) * WIDTH_STEP]
    if not runs:
        raise UserError(
            f"no run of up to {max(flops):.3g} FLOPs has {plan.min_tokens_per_param:g} to"
            f" {plan.max_tokens_per_param:g} tokens per parameter and at most {plan.max_epochs:g} epochs"
            " at these widths"
        )
    return runs


def ladder_run(
    study: Study, d_model: int, n_steps: int, n_train_tokens: int, repeat: int = 0
) -> PlannedRun:
    """One run of a width and a number of steps, priced; `repeat` counts up seeds beyond the sweep's."""
    seed = study.base.seed + study.plan.seeds + repeat
    name = f"{study.name}-next-d{d_model}-n{n_steps}-s{seed}"
    experiment = study.ladder.experiment(study.base, d_model, n_steps, name=name, seed=seed)
    run = price(experiment, n_train_tokens, study, role="target")
    # for the laws it is a run like the sweep's, of no budget of its plan
    return dataclasses.replace(run, tags={**run.tags, "role": "sweep"})
