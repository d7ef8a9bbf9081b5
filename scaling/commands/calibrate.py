"""Times updates of the experiments on standard input (JSON); what `scaling plan` starts."""

import argparse
import json
import sys
import time

import jax
import numpy as np

from scaling.experiment import Experiment
from scaling.partitioning import MeshConfig
from scaling.training.program import Program
from scaling.training.runtime import set_up_runtime

BUDGET_SECONDS = 1.0  # a shape, after compiling


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None: experiments come on standard input."""


def run(args: argparse.Namespace) -> int:
    set_up_runtime()
    experiments = [Experiment.from_json(data) for data in json.load(sys.stdin)]
    print(json.dumps([_seconds_per_step(experiment) for experiment in experiments]))
    return 0


def _seconds_per_step(experiment: Experiment) -> float:
    """The median over chunks, random tokens: the time does not depend on what they are."""
    program = Program(experiment, MeshConfig(), bos_id=0)
    state, hp = program.init(experiment), program.hyperparameters(experiment)
    shape = (program.max_chunk, experiment.batch_size, experiment.data.sequence_length + 1)
    rows = np.random.default_rng(0).integers(0, experiment.model.vocab_size, shape, np.int32)
    times: list[float] = []
    while len(times) < 3 or sum(times) < BUDGET_SECONDS:
        start = time.monotonic()
        state, metrics = program.train_chunk(state, rows, hp)
        jax.block_until_ready(metrics)
        times.append(time.monotonic() - start)
    return float(np.median(times)) / program.max_chunk
