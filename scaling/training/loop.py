"""train(experiment, run_dir) -> RunRecord."""

from collections.abc import Sequence
from typing import Any

from etils import epath

from scaling.experiment import Experiment
from scaling.partitioning import MeshConfig, is_writer
from scaling.results import RunRecord, read_record, write_record
from scaling.training.preemption import StopRequest
from scaling.training.progress import RunProgress
from scaling.training.run import Run
from scaling.training.run_folder import refuse_another_run


def train(
    experiment: Experiment,
    run_dir: epath.PathLike,
    *,
    tags: dict[str, Any] | None = None,
    config_gin: str | None = None,
    mesh: MeshConfig = MeshConfig(),
    stop: StopRequest | None = None,
    checkpoint_seconds: float = 60.0,
    keep_steps: Sequence[int] = (),
    keep_last: int = 2,
    keep_best: int = 0,
    trunk: epath.PathLike | None = None,
    upcoming: Experiment | None = None,
    progress_bar: bool = False,
) -> RunRecord:
    """Trains to the end, from the last checkpoint if there is one, and writes the record once.

    A run that has a record returns it. A non-finite loss ends the run as `diverged`, with a record.
    Nothing is written before the data and the program are there, so that a mistake leaves no trace.
    Of several processes all save checkpoints, the first writes the rest; they stop and save as one.

    Args:
      tags: JSON values that the record carries beside the experiment.
      config_gin: the experiment as gin text, kept beside `experiment.json` as `config.gin`.
      mesh: devices; not part of the experiment, for where it runs is not what it is.
      stop: when it becomes true the state is saved and `Preempted` raised.
      checkpoint_seconds: wall time between checkpoints.
      keep_steps: updates after which a checkpoint is kept, for branches (see `branches.py`).
      keep_last, keep_best: how many of the newest checkpoints, and of those with the lowest validation
        loss, are kept; with `keep_best` every evaluation that is among the best saves one.
      trunk: folder of the run that this one branches from, if it has not begun yet.
      upcoming: what this process may train next; its program is compiled beside this run's updates.
      progress_bar: draws one on the terminal; `progress.json` is kept in any case.

    Raises:
      UserError: data, mesh or disk at fault, or `run_dir` holds another experiment's run.
      Preempted: see `stop`.
    """
    run_dir = epath.Path(run_dir)
    refuse_another_run(experiment, run_dir)
    record = read_record(run_dir)
    if record is None:
        keep = {"keep": keep_steps, "keep_last": keep_last, "keep_best": keep_best}
        run = Run(experiment, run_dir, tags or {}, config_gin, mesh, checkpoint_seconds, keep, trunk)
        if upcoming is not None:
            run.compile_ahead(upcoming)
        with RunProgress(run_dir, experiment.n_steps, progress_bar, is_writer()) as progress:
            record = run.finish(stop, progress)
        # where somebody else finished it first, theirs stands
        if is_writer() and not write_record(run_dir, record):
            record = read_record(run_dir)
    return record
