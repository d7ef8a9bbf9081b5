"""The functions of one shape on one mesh, before they are compiled: init, updates, evaluation.

Learning rates, schedule, seed and step count are arguments, so every run of one shape uses the
same program. Nothing here holds an array of the model's size: a mesh may be of devices that are not
there (`scaling.aot`).
"""

import zlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from scaling.accounting import exact_train_flops
from scaling.experiment import Experiment
from scaling.models import ForwardMultipliers, ModelConfig, Routing, build_model, chosen_attention
from scaling.objectives import LossSums
from scaling.optim import Hyperparameters, Optimizer, SpikeWatch
from scaling.parametrizations import forward_multipliers, parameter_rules
from scaling.partitioning import Constrainer, batch_sharding, check_batch, parameter_shardings
from scaling.training.accumulation import value_and_gradient
from scaling.training.loss_scale import LossScale
from scaling.training.targets_loss import targets_loss

# Updates of a tiny model take about a millisecond, as long as dispatching one. Chunks of them, a quarter
# of a second on a core, make dispatch cheap and are still short enough to stop after.
TINY_UPDATE_FLOPS = 2.5e9
FLOPS_PER_DISPATCH = 2e10
MAX_STEPS_PER_DISPATCH = 128
DROPOUT = zlib.crc32(b"dropout")  # no draw is one of the initial parameters', which share the seed


class TrainState(NamedTuple):
    """Everything that training changes. step: updates done, int32. spikes: () where they are ignored.

    loss_scale: `LossScale` where the model computes in float16; else nothing.
    """

    params: Any
    optimizer: Any
    step: jax.Array
    spikes: SpikeWatch | tuple = ()
    loss_scale: LossScale | tuple = ()


class RunHyperparameters(NamedTuple):
    """All that distinguishes runs of one shape, but for data and start: scalars. seed: of dropout."""

    optimizer: Hyperparameters
    forward: ForwardMultipliers
    seed: jax.Array


class TracedProgram:
    """What every experiment with one `shape_key` runs on one mesh.

    Raises `UserError` where the attention that is named cannot run here, or a shape does not divide.
    microbatches: see `MeshConfig`.
    Attributes: model, mesh, attention (the implementation that runs), max_chunk (updates in one call
    at most), measures (what an update measures beside the optimizer, by name), state_shardings,
    abstract_state (`TrainState`s of shardings and of shapes).
    """

    def __init__(self, experiment: Experiment, mesh: Mesh, bos_id: int, microbatches: int = 1):
        self.mesh = mesh
        check_batch(self.mesh, "Experiment.batch_size", experiment.batch_size, microbatches)
        check_batch(self.mesh, "EvaluationConfig.batch_size", experiment.evaluation.batch_size)
        self.objective = experiment.build_objective(bos_id)
        self.attention = chosen_attention(
            experiment.model, mesh.devices.flat[0].platform, self.objective.lengths._asdict(),
            prefix="decoder_prefix" in self._abstract_batch(experiment, 1),
        )
        self.model = build_model(experiment.model.replace(attention=self.attention))
        self.optimizer = Optimizer(
            experiment.optimizer, experiment.schedule.shape, self.model.specs
        )
        self._z_loss, self._microbatches = experiment.z_loss, microbatches
        self._spikes = None if experiment.spikes.policy == "ignore" else experiment.spikes
        self._scaled = experiment.model.compute_dtype == "float16"
        self.measures = _measures(experiment.model)
        self._constrain = Constrainer(self.mesh)
        per_example = exact_train_flops(experiment.model, self.objective.lengths)
        self.max_chunk = _max_chunk(per_example * experiment.batch_size)
        self._batches = batch_sharding(self.mesh, leading_axes=1)
        self._rows = batch_sharding(self.mesh)
        self._everywhere = NamedSharding(self.mesh, PartitionSpec())
        self.state_shardings = self._state_shardings()
        init_std = jax.tree.map(lambda _: jnp.float32(0), self.model.specs)
        self.abstract_state = jax.tree.map(
            lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
            jax.eval_shape(self._init_state, jnp.uint32(0), init_std),
            self.state_shardings,
        )

    def hyperparameters(self, experiment: Experiment) -> RunHyperparameters:
        """What the parametrization, the optimizer and the schedule say of this run."""
        rules = parameter_rules(experiment.parametrization, self.model.specs)
        forward = forward_multipliers(experiment.parametrization, self.model.specs)
        return RunHyperparameters(
            Hyperparameters.of(experiment.optimizer, experiment.schedule, experiment.n_steps, rules),
            ForwardMultipliers(*map(jnp.float32, forward)),
            jnp.uint32(experiment.seed),
        )

    def lower_init(self) -> jax.stages.Lowered:
        """(seed, tree of standard deviations) -> `TrainState`."""
        init_std = jax.tree.map(lambda _: jnp.float32(0), self.model.specs)
        init = jax.jit(self._init_state, out_shardings=self.state_shardings)
        return init.lower(jnp.uint32(0), init_std)

    def lower_train(self, experiment: Experiment) -> jax.stages.Lowered:
        """(state, which is donated; batches; `RunHyperparameters`; n) -> state, metrics of n updates."""
        train = jax.jit(
            self._train_chunk,
            in_shardings=(self.state_shardings, self._batches, self._everywhere, None),
            out_shardings=(self.state_shardings, self._everywhere),
            donate_argnums=0,
        )
        batches = self._abstract_batch(experiment, self.max_chunk, experiment.batch_size)
        # shapes, for an array is on this process's device, which may be of another kind than the mesh's
        hyperparameters = jax.eval_shape(lambda: self.hyperparameters(experiment))
        return train.lower(self.abstract_state, batches, hyperparameters, np.int32(1))

    def lower_evaluate(self, experiment: Experiment) -> jax.stages.Lowered:
        """(params, batch, forward multipliers) -> `LossSums`, and `Routing` where there are experts."""
        evaluate = jax.jit(
            self._row_sums,
            in_shardings=(self.state_shardings.params, self._rows, self._everywhere),
            out_shardings=self._everywhere,
        )
        batch = self._abstract_batch(experiment, experiment.evaluation.batch_size)
        forward = self.hyperparameters(experiment).forward
        return evaluate.lower(self.abstract_state.params, batch, forward)

    def _abstract_batch(self, experiment: Experiment, *leading: int) -> dict[str, jax.ShapeDtypeStruct]:
        """What the objective makes of rows [*leading, T + 1]."""
        row = np.zeros((1, experiment.data.sequence_length + 1), np.int32)
        return {
            name: jax.ShapeDtypeStruct((*leading, *array.shape[1:]), array.dtype)
            for name, array in self.objective.example(row).items()
        }

    def _state_shardings(self) -> TrainState:
        params = jax.tree.map(
            lambda spec: jax.ShapeDtypeStruct(spec.shape, jnp.float32), self.model.specs
        )
        shardings = parameter_shardings(self.mesh, self.model.specs)
        optimizer = self.optimizer.state_shardings(params, shardings, self._everywhere)
        spikes = () if self._spikes is None else SpikeWatch(self._everywhere, self._everywhere)
        scale = LossScale(self._everywhere, self._everywhere) if self._scaled else ()
        return TrainState(shardings, optimizer, self._everywhere, spikes, scale)

    def _init_state(self, seed: jax.Array, init_std: Any) -> TrainState:
        params = self.model.init(seed, init_std)
        spikes = () if self._spikes is None else SpikeWatch.start(self._spikes)
        scale = LossScale.start() if self._scaled else ()
        return TrainState(params, self.optimizer.init(params), jnp.int32(0), spikes, scale)

    def _mean_loss(
        self,
        params: Any,
        batch: dict[str, jax.Array],
        forward: ForwardMultipliers,
        dropout: jax.Array | None = None,
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """What is trained on, auxiliary losses included, and what is reported: `measures`."""
        sums, penalty, routing = self._sums(params, batch, forward, dropout)
        n_targets = sums.weight.sum()
        loss = sums.loss.sum() / n_targets
        measured = {"loss": loss}
        if self._z_loss:
            loss = loss + self._z_loss * penalty / n_targets
        if routing is not None:
            config = self.model.config
            measured |= _routing_means(config, routing)
            loss = loss + config.load_balance_loss * measured["load_balance"]
            loss = loss + config.router_z_loss * measured["router_z"]
        return loss, measured

    def _row_sums(
        self, params: Any, batch: dict[str, jax.Array], forward: ForwardMultipliers
    ) -> tuple[LossSums, Routing | None]:
        sums, _, routing = self._sums(params, batch, forward)
        return sums, routing

    def _sums(
        self,
        params: Any,
        batch: dict[str, jax.Array],
        forward: ForwardMultipliers,
        dropout: jax.Array | None = None,
    ) -> tuple[LossSums, jax.Array, Routing | None]:
        """Row sums of nats and weights, what z-loss penalises, and the sums over all layers of what
        routers did."""
        found: list[Routing] = []
        hidden = self.model.hidden(
            params, batch, forward, self._constrain, routed=found.append, dropout=dropout
        )
        sums, penalty = targets_loss(
            self.model, self.objective, params, hidden, batch, forward, self._constrain,
            with_penalty=self._z_loss > 0,
        )
        return sums, penalty, jax.tree.map(lambda *layers: sum(layers), *found) if found else None

    def _update(
        self, state: TrainState, batch: dict[str, jax.Array], hp: RunHyperparameters
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        def loss(params: Any, part: dict[str, jax.Array], number: Any) -> tuple[jax.Array, dict]:
            key = self._dropout_key(hp.seed, state.step, number)
            loss, measured = self._mean_loss(params, part, hp.forward, key)
            return loss * state.loss_scale.scale if self._scaled else loss, measured

        (_, measured), gradients = value_and_gradient(
            loss, state.params, batch, batch[self.objective.asked[1]], self._microbatches,
            self._rows, self.state_shardings.params,
        )
        if self._scaled:
            gradients = state.loss_scale.unscaled(gradients)
        params, optimizer, metrics = self.optimizer.update(
            hp.optimizer, state.params, state.optimizer, gradients, state.step
        )
        moved = TrainState(params, optimizer, state.step + 1, state.spikes, state.loss_scale)
        return self._unless_skipped(state, moved, {**measured, **metrics})

    def _unless_skipped(
        self, state: TrainState, moved: TrainState, metrics: dict[str, jax.Array]
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        """The moved state, or where gradients overflowed or spiked the old one with its step counted."""
        skipped, spikes, scale = jnp.bool_(False), state.spikes, state.loss_scale
        if self._scaled:
            skipped = ~jnp.isfinite(metrics["gradient_norm"])
            scale = scale.after(~skipped)
            metrics["skipped_fraction"] = skipped.astype(jnp.float32)
        if self._spikes is not None:
            spike, watch = spikes.judge(self._spikes, metrics["loss"], metrics["gradient_norm"])
            # what overflowed under a scale that is too large says nothing of the run
            spikes = jax.tree.map(lambda old, new: jnp.where(skipped, old, new), spikes, watch)
            spike &= ~skipped
            skipped |= spike
            metrics["spike"] = spike.astype(jnp.float32)
        if self._scaled or self._spikes is not None:
            as_it_was = state._replace(step=moved.step)
            moved = jax.tree.map(lambda old, new: jnp.where(skipped, old, new), as_it_was, moved)
        return moved._replace(spikes=spikes, loss_scale=scale), metrics

    def _dropout_key(self, seed: jax.Array, step: jax.Array, part: Any) -> jax.Array | None:
        """Of one part of one update: a run that is resumed drops what it would have."""
        if not self.model.config.dropout:
            return None
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), DROPOUT), step)
        return jax.random.fold_in(key, part)

    def _train_chunk(
        self, state: TrainState, batches: dict[str, jax.Array], hp: RunHyperparameters, n: jax.Array
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        def body(i, carry):
            state, filled = carry
            state, metrics = self._update(state, jax.tree.map(lambda x: x[i], batches), hp)
            return state, jax.tree.map(lambda a, m: a.at[i].set(m), filled, metrics)

        names = (*self.measures, "gradient_norm", "clipped", "learning_rate")
        names += () if self._spikes is None else ("spike",)
        empty = {name: jnp.zeros(self.max_chunk, jnp.float32) for name in names}
        # A traced trip count: one program serves every chunk length, with the same bits.
        return jax.lax.fori_loop(0, n, body, (state, empty))


def _max_chunk(flops: float) -> int:
    """Updates of so many FLOPs that go into one call."""
    if flops > TINY_UPDATE_FLOPS:
        return 1
    return int(np.clip(FLOPS_PER_DISPATCH // flops, 1, MAX_STEPS_PER_DISPATCH))


def _measures(config: ModelConfig) -> tuple[str, ...]:
    names = ["loss"]
    if config.n_experts:
        names += ["load_balance", "router_z", "busiest_expert", "dropped_fraction"]
    if config.compute_dtype == "float16":
        names += ["skipped_fraction"]
    return tuple(names)


def _routing_means(config: ModelConfig, routing: Routing) -> dict[str, jax.Array]:
    """Means over layers from sums over them. An encoder-decoder's rows are those of both stacks."""
    n_layers = sum(config.depths.values())
    return {
        "load_balance": routing.balance / n_layers,
        "router_z": routing.z / n_layers,
        "busiest_expert": routing.busiest / n_layers,
        "dropped_fraction": routing.dropped_B.sum() / jnp.maximum(routing.assigned_BE.sum(), 1),
    }
