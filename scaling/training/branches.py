"""Decay branches: several ends of one warm-up-stable-decay run, each from a checkpoint of its trunk.

Under `wsd` the rate is constant until the decay, so runs that differ in length alone are the same run
up to there (Hu et al. 2024; Hägele et al. 2024): one trunk and a short decay each give the losses of
all lengths. A branch is the experiment that an uninterrupted run of its length would be, with that
run's parameters bit for bit.
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from etils import epath

from scaling.errors import UserError
from scaling.experiment import Experiment
from scaling.results.buckets import check_bucket
from scaling.training.checkpoints import Checkpoints

# What may differ between a trunk and its branch: none of it changes an update before the decay.
FREE_FIELDS = ("name", "n_steps", "schedule", "evaluation")


class BranchPoint(NamedTuple):
    """Where a branch leaves its trunk: the trunk's folder and run id, and updates done."""

    folder: epath.Path
    run_id: str
    step: int


def last_shared_step(experiment: Experiment) -> int:
    """Updates that a `wsd` run makes at the constant rate (warm-up included)."""
    n_steps = experiment.n_steps
    decay = experiment.schedule.decay_steps(n_steps)
    return min(n_steps, n_steps - decay + 1)  # the first update of the decay has factor 1


def trunk_of(branches: Sequence[Experiment], name: str = "trunk") -> Experiment:
    """The run that all of these share, long enough for the longest, without a decay of its own.

    Raises `UserError` where they are no branches of one run.
    """
    longest = max(branches, key=last_shared_step)
    trunk = longest.replace(
        name=name,
        n_steps=last_shared_step(longest),
        schedule=longest.schedule.replace(decay_fraction=0.0),
        evaluation=longest.evaluation.replace(n_evaluations=1),
    )
    for branch in branches:
        check_branch(branch, trunk)
    return trunk


def check_branch(branch: Experiment, trunk: Experiment) -> None:
    """Raises `UserError` where the two differ before the decay."""
    for experiment in (branch, trunk):
        if experiment.schedule.shape != "wsd":
            raise experiment.schedule.refuse("shape", "'wsd', which alone has a trunk and branches")
    theirs = trunk.to_json()
    different = [
        name for name, value in branch.to_json().items()
        if name not in FREE_FIELDS and value != theirs[name]
    ]
    if different:
        raise UserError(
            f"{branch.name} is no branch of {trunk.run_id}: they differ in {', '.join(different)}"
        )
    rises = [e.schedule.warmup_steps(e.n_steps) for e in (branch, trunk)]
    if rises[0] != rises[1]:
        raise UserError(
            f"{branch.name} is no branch of {trunk.run_id}: it warms up over {rises[0]} updates, the"
            f" trunk over {rises[1]}; let ScheduleConfig.max_warmup_steps decide for both"
        )


def branch_point(branch: Experiment, folder: epath.PathLike) -> BranchPoint:
    """The latest checkpoint of a trunk at which the branch is still the same run.

    Raises `UserError` for a folder without a run, with another run, or with later checkpoints only.
    """
    check_bucket(folder)
    folder = epath.Path(folder)
    try:
        data = json.loads((folder / "experiment.json").read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{folder} holds no run to branch from") from None
    trunk = Experiment.from_json(data, str(folder / "experiment.json"))
    check_branch(branch, trunk)
    shared = min(last_shared_step(branch), last_shared_step(trunk))
    checkpoints = Checkpoints(folder, read_only=True)
    steps = [step for step in checkpoints.all_steps() if step <= shared]
    if not steps:
        raise UserError(
            f"{folder} has no checkpoint at update {shared} or before; train the trunk with"
            f" --keep-steps {shared}"
        )
    return BranchPoint(folder, trunk.run_id, max(steps))


def restore_trunk(point: BranchPoint, abstract_state: Any) -> tuple[Any, dict[str, Any], str]:
    """The trunk's state and host data at a point, and its metrics so far, as text."""
    checkpoints = Checkpoints(point.folder, read_only=True)
    state, host = checkpoints.restore(point.step, abstract_state)
    return state, host, (point.folder / "metrics.jsonl").read_text()
