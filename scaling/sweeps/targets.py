"""The runs that a forecast foretells: ladder sizes at a budget beyond the sweep."""

import math

from scaling.errors import UserError
from scaling.sweeps.plan import PlannedRun, price, solve
from scaling.sweeps.study import Study

# Candidate widths: multiples of this, as the ladder's own mostly are.
WIDTH_STEP = 16


def target_runs(
    study: Study, flops: float, n_opt: float, n_seeds: int, n_train_tokens: int
) -> list[PlannedRun]:
    """Runs at a budget, at the width whose N (body and head) is nearest to `n_opt`, seed by seed.

    Raises `UserError` if the run would repeat the data beyond the study's limit.
    """
    best: tuple[float, PlannedRun] | None = None
    d_model = WIDTH_STEP
    while True:
        experiment, _ = solve(study, d_model, flops, role="target", seed=study.base.seed)
        run = price(experiment, n_train_tokens, study, role="target")
        distance = math.log(run.n_body_and_head / n_opt)
        if best is None or abs(distance) < abs(best[0]):
            best = (distance, run)
        if distance > 0:
            break
        d_model += WIDTH_STEP
    run = best[1]
    if run.epochs > study.plan.max_epochs:
        raise UserError(
            f"the run at {flops:.3g} FLOPs needs {run.experiment.n_tokens:,} tokens,"
            f" {run.epochs:.2f} epochs; IsoFlop.max_epochs = {study.plan.max_epochs:g}:"
            " forecast a smaller budget, or plan the study with a higher limit"
        )
    seeds = range(study.base.seed, study.base.seed + n_seeds)
    width = run.experiment.model.d_model
    return [
        price(
            solve(study, width, flops, role="target", seed=seed)[0],
            n_train_tokens,
            study,
            role="target",
        )
        for seed in seeds
    ]
