"""The compiled functions of one shape: init, a chunk of updates, evaluation.

Runs of one shape share them, in this process through a cache and in others through JAX's persistent
one.
"""

import concurrent.futures
import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from scaling.experiment import Experiment
from scaling.malloc import compiling
from scaling.models import Routing
from scaling.objectives import LossSums
from scaling.parametrizations import parameter_rules
from scaling.partitioning import MeshConfig, make_mesh, place, process_share
from scaling.training.noise_scale import gradient_moments
from scaling.training.traced import RunHyperparameters, TracedProgram, TrainState


class Program(TracedProgram):
    """Compiled functions for every experiment with one `shape_key`, on one mesh.

    Raises `UserError` where the attention that is named cannot run here, the mesh needs more devices
    than there are, or a shape does not divide. Attributes: compile_seconds, share (i, n: this process
    gives the i-th of n equal parts of each batch).
    """

    def __init__(self, experiment: Experiment, mesh_config: MeshConfig, bos_id: int):
        super().__init__(experiment, make_mesh(mesh_config), bos_id, mesh_config.microbatches)
        self.share = process_share(self.mesh)
        # ahead of the first call, so that compile time is known and not in step time
        start = time.monotonic()
        with compiling():
            self._init = self.lower_init().compile()
            self._train = self.lower_train(experiment).compile()
            self._evaluate = self.lower_evaluate(experiment).compile()
        self.compile_seconds = time.monotonic() - start

    def init(self, experiment: Experiment) -> TrainState:
        """The state before the first update."""
        rules = parameter_rules(experiment.parametrization, self.model.specs)
        init_std = jax.tree.map(lambda r: jnp.float32(r.init_std), rules)
        return self._init(jnp.uint32(experiment.seed), init_std)

    @property
    def compiled_chunk(self) -> jax.stages.Compiled:
        """What `train_chunk` calls: its text, and what XLA says of its memory."""
        return self._train

    def train_chunk(
        self,
        state: TrainState,
        rows: np.ndarray,
        hyperparameters: RunHyperparameters,
        seed: int = 0,
        first_example: int = 0,
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        """Runs `len(rows)` updates. `state` is donated. Returns before they are done.

        rows: int [k, batch, T + 1], k at most `max_chunk`; of several processes, each one's `share`.
        seed, first_example: what the objective hides in a row depends on the seed and on the row's
            number in the run, which counts on from `first_example`.
        Returns the new state and metrics, arrays [max_chunk] of which the first k are filled:
        `loss` (mean nats per token before that update), `gradient_norm`, `clipped` (1 where the
        gradient was scaled down), `learning_rate`; of a mixture of experts also means over layers:
        `load_balance` and `router_z` (see `scaling.models.Routing`), `busiest_expert` (its share of
        assignments over an even one) and `dropped_fraction` (of assignments). Where spikes
        are watched, `spike` is 1 for an update that was one and so was not applied; under float16
        `skipped_fraction` is 1 where gradients overflowed and so nothing was updated.
        """
        n = len(rows)
        if n < self.max_chunk:
            padding = np.repeat(rows[-1:], self.max_chunk - n, axis=0)
            rows = np.concatenate([rows, padding])
        part, n_parts = self.share
        in_batch = part * rows.shape[1] + np.arange(rows.shape[1])
        starts = first_example + np.arange(len(rows)) * rows.shape[1] * n_parts
        batches = self.objective.example(rows, seed, starts[:, None] + in_batch)
        batches = place(batches, self._batches, 1, rows.shape[1] * n_parts)
        return self._train(state, batches, hyperparameters, np.int32(n))

    def evaluate_batch(
        self, params: Any, batch: dict[str, np.ndarray], hyperparameters: RunHyperparameters
    ) -> LossSums:
        """Row sums of nats and weights, device arrays [R], for a batch of R rows, whole on each
        process."""
        return self.evaluate_routed(params, batch, hyperparameters)[0]

    def evaluate_routed(
        self, params: Any, batch: dict[str, np.ndarray], hyperparameters: RunHyperparameters
    ) -> tuple[LossSums, Routing | None]:
        """`evaluate_batch`, and what the routers of all layers did, where the model has experts."""
        n_rows = len(jax.tree.leaves(batch)[0])
        return self._evaluate(params, place(batch, self._rows, 0, n_rows), hyperparameters.forward)

    def gradient_moments(
        self, params: Any, rows: np.ndarray, hyperparameters: RunHyperparameters
    ) -> tuple[float, float]:
        """Mean of |g_i|^2 and |mean of g_i|^2 over k batches, int rows [k, this process's share, T + 1]."""
        n_rows = rows.shape[1] * self.share[1]
        batches = place(self.objective.example(rows), self._batches, 1, n_rows)
        micro, whole = self._gradient_moments(params, batches, hyperparameters.forward)
        return float(micro), float(whole)

    @functools.cached_property
    def _gradient_moments(self) -> Callable[[Any, Any, Any], tuple[jax.Array, jax.Array]]:
        def moments(params, batches, forward):
            of = gradient_moments(lambda p, batch: self._mean_loss(p, batch, forward)[0])
            return of(params, batches)

        return jax.jit(
            moments,
            in_shardings=(self.state_shardings.params, self._batches, self._everywhere),
            out_shardings=self._everywhere,
        )


_Key = tuple[str, MeshConfig, int]
_programs: dict[_Key, Program] = {}
_ahead: dict[_Key, concurrent.futures.Future[Program]] = {}
_thread = concurrent.futures.ThreadPoolExecutor(1, "compile-ahead")


def program_for(experiment: Experiment, mesh: MeshConfig, bos_id: int) -> tuple[Program, float]:
    """The program of the experiment's shape, and the seconds spent compiling it, or waiting for it, now.

    A worker meets its runs grouped by nothing in particular, so the programs of all shapes of a
    sweep stay; they are small beside the states they train.
    """
    key = (experiment.shape_key, mesh, bos_id)
    if key in _programs:
        return _programs[key], 0.0
    if (begun := _ahead.pop(key, None)) is not None:
        start = time.monotonic()
        _programs[key] = begun.result()
        return _programs[key], time.monotonic() - start
    _programs[key] = Program(experiment, mesh, bos_id)
    return _programs[key], _programs[key].compile_seconds


def compile_ahead(experiment: Experiment, mesh: MeshConfig, bos_id: int) -> None:
    """Begins to compile what `program_for` will be asked for, in a thread beside the training.

    What goes wrong there is raised by `program_for`.
    """
    key = (experiment.shape_key, mesh, bos_id)
    if key not in _programs and key not in _ahead:
        _ahead[key] = _thread.submit(Program, experiment, mesh, bos_id)
