"""The compiled functions of one shape: init, a chunk of updates, evaluation.

Learning rates, schedule, seed and step count are arguments, so every run of one shape uses the
same program, in this process through a cache and in others through JAX's persistent one.
"""

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from scaling.accounting import exact_train_flops
from scaling.experiment import Experiment
from scaling.models import ForwardMultipliers, build_model, chosen_attention
from scaling.objectives import LossSums
from scaling.optim import Hyperparameters, Optimizer
from scaling.parametrizations import forward_multipliers, parameter_rules
from scaling.partitioning import (
    MeshConfig,
    batch_sharding,
    check_batch,
    constrainer,
    make_mesh,
    parameter_shardings,
)
from scaling.training.noise_scale import gradient_moments

# Updates of a tiny model take about a millisecond, as long as dispatching one; a chunk of this many
# FLOPs makes dispatch cheap and is still short enough to stop after.
FLOPS_PER_DISPATCH = 5e9
MAX_STEPS_PER_DISPATCH = 32


class TrainState(NamedTuple):
    """Everything that training changes. step: updates done, int32."""

    params: Any
    optimizer: Any
    step: jax.Array


class RunHyperparameters(NamedTuple):
    """All that distinguishes runs of one shape, but for seed and data: scalars."""

    optimizer: Hyperparameters
    forward: ForwardMultipliers


class Program:
    """Compiled functions for every experiment with one `shape_key`, on one mesh.

    Raises `UserError` where the attention that is named cannot run here, the mesh needs more devices
    than there are, or a shape does not divide.
    Attributes: model, mesh, attention (the implementation that runs), max_chunk (updates in one call
    at most), compile_seconds.
    """

    def __init__(self, experiment: Experiment, mesh_config: MeshConfig, bos_id: int):
        self.attention = chosen_attention(experiment.model, jax.default_backend())
        self.model = build_model(experiment.model)
        self.mesh = make_mesh(mesh_config)
        check_batch(self.mesh, "Experiment.batch_size", experiment.batch_size)
        check_batch(self.mesh, "EvaluationConfig.batch_size", experiment.evaluation.batch_size)
        self.objective = experiment.build_objective(bos_id)
        self.optimizer = Optimizer(
            experiment.optimizer, experiment.schedule.shape, self.model.specs
        )
        self._z_loss = experiment.z_loss
        self._constrain = constrainer(self.mesh)
        per_example = exact_train_flops(experiment.model, self.objective.lengths)
        per_step = per_example * experiment.batch_size
        self.max_chunk = int(np.clip(FLOPS_PER_DISPATCH // per_step, 1, MAX_STEPS_PER_DISPATCH))
        self._batches = batch_sharding(self.mesh, leading_axes=1)
        self._rows = batch_sharding(self.mesh)
        self._everywhere = NamedSharding(self.mesh, PartitionSpec())
        self.state_shardings = self._state_shardings()
        self.compile_seconds = 0.0
        self._compile(experiment)

    def init(self, experiment: Experiment) -> TrainState:
        """The state before the first update."""
        rules = parameter_rules(experiment.parametrization, self.model.specs)
        init_std = jax.tree.map(lambda r: jnp.float32(r.init_std), rules)
        return self._init(jnp.uint32(experiment.seed), init_std)

    def hyperparameters(self, experiment: Experiment) -> RunHyperparameters:
        """What the parametrization, the optimizer and the schedule say of this run."""
        rules = parameter_rules(experiment.parametrization, self.model.specs)
        forward = forward_multipliers(experiment.parametrization, self.model.specs)
        return RunHyperparameters(
            Hyperparameters.of(experiment.optimizer, experiment.schedule, experiment.n_steps, rules),
            ForwardMultipliers(*map(jnp.float32, forward)),
        )

    def train_chunk(
        self,
        state: TrainState,
        rows: np.ndarray,
        hyperparameters: RunHyperparameters,
        seed: int = 0,
        first_example: int = 0,
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        """Runs `len(rows)` updates. `state` is donated.

        rows: int [k, batch, T + 1], k at most `max_chunk`.
        seed, first_example: what the objective hides in a row depends on the seed and on the row's
            number in the run, which counts on from `first_example`.
        Returns the new state and metrics, arrays [max_chunk] of which the first k are filled:
        `loss` (mean nats per token before that update), `gradient_norm`, `clipped` (1 where the
        gradient was scaled down), `learning_rate`.
        """
        n = len(rows)
        if n < self.max_chunk:
            padding = np.repeat(rows[-1:], self.max_chunk - n, axis=0)
            rows = np.concatenate([rows, padding])
        indices = first_example + np.arange(rows.shape[0] * rows.shape[1])
        batches = self.objective.example(rows, seed, indices)
        batches = jax.device_put(batches, self._batches)
        return self._train(state, batches, hyperparameters, np.int32(n))

    def evaluate_batch(
        self, params: Any, batch: dict[str, np.ndarray], hyperparameters: RunHyperparameters
    ) -> LossSums:
        """Row sums of nats and weights, device arrays [R], for a batch of R rows."""
        return self._evaluate(params, jax.device_put(batch, self._rows), hyperparameters.forward)

    def gradient_moments(
        self, params: Any, rows: np.ndarray, hyperparameters: RunHyperparameters
    ) -> tuple[float, float]:
        """Mean of |g_i|^2 and |mean of g_i|^2 over k batches, int rows [k, batch, T + 1]."""
        batches = jax.device_put(self.objective.example(rows), self._batches)
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

    def _mean_loss(
        self, params: Any, batch: dict[str, jax.Array], forward: ForwardMultipliers
    ) -> tuple[jax.Array, jax.Array]:
        """What is trained on, z-loss included, and the mean nats per target."""
        logits = self.model.apply(params, batch, forward, self._constrain)
        sums = self.objective.loss(logits, batch)
        n_targets = sums.weight.sum()
        loss = sums.loss.sum() / n_targets
        if not self._z_loss:
            return loss, loss
        return loss + self._z_loss * self.objective.z_penalty(logits, batch) / n_targets, loss

    def _row_sums(
        self, params: Any, batch: dict[str, jax.Array], forward: ForwardMultipliers
    ) -> LossSums:
        logits = self.model.apply(params, batch, forward, self._constrain)
        return self.objective.loss(logits, batch)

    def _state_shardings(self) -> TrainState:
        params = jax.tree.map(
            lambda spec: jax.ShapeDtypeStruct(spec.shape, jnp.float32), self.model.specs
        )
        shardings = parameter_shardings(self.mesh, self.model.specs)
        optimizer = self.optimizer.state_shardings(params, shardings, self._everywhere)
        return TrainState(shardings, optimizer, self._everywhere)

    def _compile(self, experiment: Experiment) -> None:
        """Compiles ahead of the first call, so that compile time is known and not in step time."""

        def init(seed, init_std) -> TrainState:
            params = self.model.init(seed, init_std)
            return TrainState(params, self.optimizer.init(params), jnp.int32(0))

        def update(state: TrainState, batch, hp) -> tuple[TrainState, dict[str, jax.Array]]:
            gradient = jax.value_and_grad(self._mean_loss, has_aux=True)
            (_, loss), gradients = gradient(state.params, batch, hp.forward)
            params, optimizer, metrics = self.optimizer.update(
                hp.optimizer, state.params, state.optimizer, gradients, state.step
            )
            return TrainState(params, optimizer, state.step + 1), {"loss": loss, **metrics}

        def train_chunk(state, batches, hp, n):
            def body(i, carry):
                state, filled = carry
                state, metrics = update(state, jax.tree.map(lambda x: x[i], batches), hp)
                return state, jax.tree.map(lambda a, m: a.at[i].set(m), filled, metrics)

            names = ("loss", "gradient_norm", "clipped", "learning_rate")
            empty = {name: jnp.zeros(self.max_chunk, jnp.float32) for name in names}
            # A traced trip count: one program serves every chunk length, with the same bits.
            return jax.lax.fori_loop(0, n, body, (state, empty))

        start = time.monotonic()
        rules = parameter_rules(experiment.parametrization, self.model.specs)
        scalars = jax.tree.map(lambda r: jnp.float32(0), rules)
        hp = self.hyperparameters(experiment)
        self._init = (
            jax.jit(init, out_shardings=self.state_shardings)
            .lower(jnp.uint32(0), scalars)
            .compile()
        )
        self.abstract_state = jax.tree.map(
            lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
            jax.eval_shape(init, jnp.uint32(0), scalars),
            self.state_shardings,
        )
        length = experiment.data.sequence_length
        chunk = np.zeros((self.max_chunk, experiment.batch_size, length + 1), np.int32)
        self._train = (
            jax.jit(
                train_chunk,
                in_shardings=(self.state_shardings, self._batches, self._everywhere, None),
                out_shardings=(self.state_shardings, self._everywhere),
                donate_argnums=0,
            )
            .lower(self.abstract_state, self.objective.example(chunk), hp, np.int32(1))
            .compile()
        )
        rows = np.zeros((experiment.evaluation.batch_size, length + 1), np.int32)
        self._evaluate = (
            jax.jit(
                self._row_sums,
                in_shardings=(self.state_shardings.params, self._rows, self._everywhere),
                out_shardings=self._everywhere,
            )
            .lower(self.abstract_state.params, self.objective.example(rows), hp.forward)
            .compile()
        )
        self.compile_seconds = time.monotonic() - start


_programs: dict[tuple[str, MeshConfig, int], Program] = {}


def program_for(experiment: Experiment, mesh: MeshConfig, bos_id: int) -> tuple[Program, float]:
    """The program of the experiment's shape, and the seconds spent compiling it just now.

    A worker meets its runs grouped by nothing in particular, so the programs of all shapes of a
    sweep stay; they are small beside the states they train.
    """
    key = (experiment.shape_key, mesh, bos_id)
    if key in _programs:
        return _programs[key], 0.0
    _programs[key] = Program(experiment, mesh, bos_id)
    return _programs[key], _programs[key].compile_seconds
