"""One run in progress: from its last checkpoint, through updates, evaluations and saves, to its record."""

import dataclasses
import datetime
import time
from typing import Any, NamedTuple

import jax
import numpy as np
from etils import epath

from scaling.accounting import count_parameters, peak_flops_per_second, train_flops
from scaling.data import PreparedData, TrainStream, prepare
from scaling.evaluation import open_suite
from scaling.experiment import Experiment
from scaling.generation import TrainedModel
from scaling.parametrizations import parametrization_record
from scaling.partitioning import Agreement, MeshConfig, is_writer
from scaling.results import Evaluation, RunRecord
from scaling.results.files import write_atomically
from scaling.training import provenance
from scaling.training.branches import branch_point, restore_trunk
from scaling.training.checkpoints import Checkpoints
from scaling.training.clock import RunClock
from scaling.training.evaluation import evaluate
from scaling.training.metrics import MetricsLog
from scaling.training.noise_scale import noise_scale
from scaling.training.preemption import Preempted, StopRequest
from scaling.training.program import Program, compile_ahead, program_for
from scaling.training.progress import RunProgress
from scaling.training.run_folder import write_experiment
from scaling.training.traced import TrainState

SAVE = 1  # a wish of `Agreement`; larger ones are the exit status of a run that must stop


class Chunk(NamedTuple):
    """Updates under way. first_step: updates before them. metrics: device arrays [at least n]."""

    first_step: int
    n: int
    metrics: dict[str, jax.Array]


class Run:
    """One run in progress."""

    def __init__(
        self,
        experiment: Experiment,
        run_dir: epath.Path,
        tags: dict[str, Any],
        config_gin: str | None,
        mesh: MeshConfig,
        checkpoint_seconds: float,
        keep: dict[str, Any],
        trunk: epath.PathLike | None,
    ):
        self.clock = RunClock()
        self.experiment, self.run_dir, self.tags, self.mesh = experiment, run_dir, tags, mesh
        self.checkpoint_seconds, self.keep_steps = checkpoint_seconds, set(keep["keep"])
        self.branch_point = None if trunk is None else branch_point(experiment, trunk)
        if self.branch_point is not None:
            at = {"trunk": self.branch_point.run_id, "step": self.branch_point.step}
            self.tags = {**self.tags, "branch": at}
        self.data: PreparedData = prepare(experiment.data)
        asked = experiment.evaluation
        if jax.process_count() > 1 and (asked.domains or asked.tasks):
            raise asked.refuse("tasks", "none, nor domains, in a run of several processes; ask afterwards"
                               " with: scaling evaluate")
        self.suite = open_suite(experiment, asked.domains, asked.tasks)
        self.program: Program
        self.program, compile_seconds = program_for(experiment, mesh, self.data.bos_id)
        self.clock.compiled(compile_seconds)
        self.hyperparameters = self.program.hyperparameters(experiment)
        self.n_params = count_parameters(self.program.model.specs)
        part, n_parts = self.program.share
        self.stream = TrainStream(
            self.data.train_rows, seed=experiment.seed, batch_size=experiment.batch_size,
            process_index=part, process_count=n_parts,
        )
        if is_writer():
            write_experiment(experiment, run_dir, config_gin)
        self.metrics = MetricsLog(
            run_dir, experiment.n_steps, experiment.tokens_per_step, self.program.measures,
            writes=is_writer(),
        )
        self.evaluations: list[Evaluation] = []
        self.flops_per_step = self._flops(experiment.batch_size)["exact"]
        self.diverged_at: int | None = None
        self.reason: str | None = None  # of diverging, unless it is the loss, which is no number
        self.n_skipped = 0
        self.saved_at, self.saved_clock = 0, time.monotonic()
        self.checkpoints = Checkpoints(run_dir, **keep)
        self.keep_best = keep["keep_best"]

    def compile_ahead(self, upcoming: Experiment) -> None:
        """Begins with the program of another run, where it reads the same data."""
        if upcoming.data == self.experiment.data:
            compile_ahead(upcoming, self.mesh, self.data.bos_id)

    def finish(self, stop: StopRequest | None, progress: RunProgress) -> RunRecord:
        """Each chunk of updates is dispatched before the metrics of the one before are read, so that
        the device works while the host reads, writes and prepares the next batches.
        """
        experiment, n_steps = self.experiment, self.experiment.n_steps
        evaluation_steps = {
            round(n_steps * (i + 1) / experiment.evaluation.n_evaluations)
            for i in range(experiment.evaluation.n_evaluations)
        }
        pauses = evaluation_steps | self.keep_steps | {n_steps}
        step, state = self._start()
        agreement = Agreement(self.program.mesh)
        behind: Chunk | None = None
        self.saved_at, self.saved_clock = step, time.monotonic()
        self.clock.resume()
        while step < n_steps and self.diverged_at is None:
            if wish := agreement.ask(self._wish(stop)):
                behind = self._settle(behind, progress)
                if self.diverged_at is None and step > self.saved_at:
                    self._save(step, state)
                if self.diverged_at is not None:
                    break
                if wish > SAVE:
                    self.checkpoints.finish()
                    self.metrics.close()
                    raise Preempted(experiment.run_id, step, wish)
                self.clock.resume()
            n = min(self.program.max_chunk, min(s for s in pauses if s > step) - step)
            state, metrics = self.program.train_chunk(
                state, self.stream.next_batches(n), self.hyperparameters,
                experiment.seed, step * experiment.batch_size,
            )
            behind, ready = Chunk(step, n, metrics), behind
            step += n
            self._settle(ready, progress)
            if step in pauses:
                behind = self._settle(behind, progress)
                if self.diverged_at is None and step in evaluation_steps:
                    self._evaluate(state, step)
                kept = step in self.keep_steps | {n_steps} or self._is_among_the_best(step)
                if self.diverged_at is None and kept:
                    self._save(step, state)
                self.clock.resume()
        self.checkpoints.finish()
        self.metrics.close()
        downstream = None
        if self.diverged_at is None:
            trained = TrainedModel(experiment, state.params, self.data.tokenizer)
            downstream = self.suite.evaluate(trained)
        return self._record(downstream)

    def _wish(self, stop: StopRequest | None) -> int:
        if stop:
            return stop.exit_code
        due = time.monotonic() - self.saved_clock > self.checkpoint_seconds
        return SAVE if due else 0

    def _settle(self, chunk: Chunk | None, progress: RunProgress) -> None:
        """Waits for updates and takes their metrics, up to the one that ends the run, if one does."""
        if chunk is None or self.diverged_at is not None:
            return
        metrics = {name: np.asarray(values)[: chunk.n] for name, values in chunk.metrics.items()}
        finite = np.isfinite(metrics["loss"])
        ends = ~finite
        if self.experiment.spikes.policy == "stop":
            ends |= metrics["spike"] > 0
        if ends.any():
            good = int(np.argmax(ends))
            self.diverged_at = chunk.first_step + good
            if finite[good]:
                loss, norm = (float(metrics[name][good]) for name in ("loss", "gradient_norm"))
                found = f"loss {loss:.4g}, gradient norm {norm:.4g}"
                self.reason = f"loss spike at step {self.diverged_at}: {found}"
            metrics = {name: values[:good] for name, values in metrics.items()}
        for name in {"spike", "skipped_fraction"} & set(metrics):
            self.n_skipped += int(metrics[name].sum())
        self.metrics.add(chunk.first_step, metrics)
        seconds = self.clock.lap()
        loss = float(metrics["loss"][-1]) if len(metrics["loss"]) else None
        rate = self.flops_per_step * chunk.n / seconds if seconds > 0 else 0.0
        progress.show(chunk.first_step + len(metrics["loss"]), loss, rate)

    def _start(self) -> tuple[int, TrainState]:
        latest = self.checkpoints.restore_latest(self.program.abstract_state)
        if latest is None and self.branch_point is None:
            self.metrics.resume(0, {})
            return 0, self.program.init(self.experiment)
        if latest is None:
            step = self.branch_point.step
            state, host, lines = restore_trunk(self.branch_point, self.program.abstract_state)
            if is_writer():
                write_atomically(self.run_dir / "metrics.jsonl", lines)
        else:
            step, state, host = latest
        self.stream.set_state(host["stream"])
        self.metrics.resume(step, host["pending_metrics"])
        self.evaluations = [Evaluation(**e) for e in host["evaluations"]]
        self.clock.continues(host["seconds"])
        self.n_skipped = host.get("n_skipped", 0)  # absent from checkpoints of earlier versions
        return step, state

    def _is_among_the_best(self, step: int) -> bool:
        best = sorted((e for e in self.evaluations if e.loss is not None), key=lambda e: e.loss)
        return any(e.step == step for e in best[: self.keep_best])

    def _save(self, step: int, state: TrainState) -> None:
        host = {
            "stream": self.stream.get_state(),
            "pending_metrics": self.metrics.pending(),
            "evaluations": [vars(e) for e in self.evaluations],
            "seconds": self.clock.seconds(),
            "n_skipped": self.n_skipped,
        }
        evaluated = self.evaluations and self.evaluations[-1].step == step
        loss = self.evaluations[-1].loss if evaluated else None
        if not self.checkpoints.save(step, state, host, loss):
            self.diverged_at = step  # the loss of the next update would say so
        self.saved_at, self.saved_clock = step, time.monotonic()

    def _evaluate(self, state: TrainState, step: int) -> None:
        evaluation = evaluate(
            self.program,
            state.params,
            self.hyperparameters,
            self.data,
            self.experiment.evaluation.batch_size,
            step,
            step * self.experiment.tokens_per_step,
        )
        if k := self.experiment.evaluation.noise_scale_batches:
            moments = self.program.gradient_moments(
                state.params, self.stream.peek(k), self.hyperparameters
            )
            scale = noise_scale(*moments, k, self.experiment.tokens_per_step)
            evaluation = dataclasses.replace(evaluation, noise_scale=scale)
        self.evaluations.append(evaluation)
        self.metrics.add_evaluation(evaluation)
        if evaluation.loss is None:
            self.diverged_at = step

    def _flops(self, n_examples: int) -> dict[str, float]:
        return train_flops(self.experiment.model, self.program.objective.lengths, n_examples)

    def _record(self, downstream: dict[str, Any] | None) -> RunRecord:
        experiment, diverged_at = self.experiment, self.diverged_at
        n_steps = experiment.n_steps if diverged_at is None else diverged_at
        n_tokens = n_steps * experiment.tokens_per_step
        corpora = self.data.read_by(n_steps * experiment.batch_size)
        flops, seconds = self._flops(n_steps * experiment.batch_size), self.clock.seconds()
        rate = flops["exact"] / seconds["train"] if seconds["train"] > 0 else None
        peak = peak_flops_per_second(jax.devices()[0].device_kind)
        finite = [e for e in self.evaluations if e.loss is not None]
        at_end = finite[-1] if finite and diverged_at is None else None
        return RunRecord(
            run_id=experiment.run_id,
            status="ok" if diverged_at is None else "diverged",
            reason=None if diverged_at is None else self.reason or f"non-finite loss at step {diverged_at}",
            experiment=experiment.to_json(),
            tags=self.tags,
            seed=experiment.seed,
            n_steps=n_steps,
            n_tokens=n_tokens,
            n_epochs=max(corpus["n_epochs"] for corpus in corpora),
            n_params=self.n_params,
            parametrization=parametrization_record(
                experiment.parametrization, self.program.model.specs
            ),
            attention=self.program.attention,
            skipped_steps=self.n_skipped,
            downstream=downstream,
            train_flops=flops,
            final=at_end,
            best=min(finite, key=lambda e: e.loss) if finite else None,
            evaluations=self.evaluations,
            curve=self.metrics.curve,
            wall_seconds=seconds["wall"],
            train_seconds=seconds["train"],
            compile_seconds=seconds["compile"],
            flops_per_second=rate,
            mfu=rate / (peak * self.mesh.size) if rate and peak else None,
            device=provenance.device_kind(),
            mesh=self.mesh.to_json(),
            data={"corpus": self.data.manifest["corpus"],
                  "content_hash": self.data.manifest["content_hash"],
                  "n_unique_tokens": sum(corpus["n_unique_tokens"] for corpus in corpora),
                  "corpora": corpora},
            versions=provenance.versions(),
            commit=provenance.commit(),
            finished_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        )
