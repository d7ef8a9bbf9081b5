"""How fast this machine trains: a few shapes timed in a pinned process, the rest between them.

The timed programs land in the persistent compilation cache, where the sweep finds them.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence

import numpy as np

from scaling.accounting import exact_train_flops
from scaling.cores import core_ids
from scaling.errors import UserError
from scaling.experiment import Experiment
from scaling.sweeps.launchers import pinned
from scaling.sweeps.plan import PlannedRun

# Start-up, evaluations and the final checkpoint of a small run.
SECONDS_BESIDE_TRAINING = 2.0


def expected_seconds(runs: Sequence[PlannedRun], n_shapes: int = 3) -> list[float]:
    """Seconds each run will take on one core of this machine.

    Times the smallest, the largest and a middle shape (`n_shapes`), and interpolates the time of a
    step in log FLOPs a step. Raises `UserError` if the timing process fails.
    """
    by_shape = {run.experiment.shape_key: run.experiment for run in runs}
    shapes = sorted(by_shape.values(), key=flops_per_step)
    picks = np.unique(np.linspace(0, len(shapes) - 1, n_shapes).round().astype(int))
    timed = [shapes[i] for i in picks]
    seconds = time_steps(timed)
    log_flops = np.log([flops_per_step(e) for e in timed])
    log_seconds = np.log(seconds)
    expected = []
    for run in runs:
        log_step = np.interp(np.log(flops_per_step(run.experiment)), log_flops, log_seconds)
        training = run.experiment.n_steps * float(np.exp(log_step))
        expected.append(training + SECONDS_BESIDE_TRAINING)
    return expected


def time_steps(experiments: Sequence[Experiment], core: int | None = None) -> list[float]:
    """Seconds of one update of each experiment's shape, on one core, in a process of its own.

    core: the first of those that this process may use, unless said.
    """
    if core is None and (cores := core_ids()):
        core = cores[0]
    command = [sys.executable, "-I", "-S", pinned.__file__, str(os.getpid()),
               "-" if core is None else str(core), sys.executable, "-m", "scaling", "calibrate"]
    text = json.dumps([e.to_json() for e in experiments])
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"cannot time a training step here: {last}")
    return json.loads(done.stdout.splitlines()[-1])


def flops_per_step(experiment: Experiment) -> float:
    """Exact training FLOPs of one update."""
    return float(exact_train_flops(experiment.model, experiment.lengths) * experiment.batch_size)
