"""Speed of a training step: ours against a hand-written JAX loop and against PyTorch, side by side.

    python tools/bench_train.py                              # a tiny and a small decoder, all cores
    python tools/bench_train.py --study sweeps/demo.gin      # every shape of a study, on one pinned core

All train the same decoder from the same parameters on the same rows; the losses of the first steps are
compared before anything is timed. Blocks of steps take turns, each after one step that is not timed,
and each turn begins with another contestant: the first step after somebody else's finds cold caches. A
ratio is the median over turns of the other's time over ours in the same turn: above 1, ours is faster.
PyTorch is in the test extra; what is not there, or cannot compile, is left out and named.
"""

import argparse
import time

import jax
import numpy as np
from plain_jax import make_step as plain_step

from scaling.commands.tables import console, table
from scaling.data.config import CorpusConfig, DataConfig, TokenizerConfig
from scaling.experiment import EvaluationConfig, Experiment
from scaling.gin_config import load_study
from scaling.malloc import compiling, restart_with_tuned_malloc
from scaling.models import DecoderConfig
from scaling.optim import AdamWConfig, ScheduleConfig
from scaling.parametrizations import ParametrizationConfig
from scaling.partitioning import MeshConfig
from scaling.sweeps.calibration import flops_per_step, time_steps
from scaling.sweeps.plan import plan
from scaling.training.program import Program
from scaling.training.traced import RunHyperparameters, TrainState

# d_model, layers, heads, vocabulary, batch, length: the demo's middle, and one that fills a core's caches
SHAPES = ((64, 2, 2, 1024, 4, 64), (256, 4, 8, 4096, 8, 128))
RATE, TURNS, SECONDS_A_BLOCK = 1e-3, 7, 1.5


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--study", help="a study's .gin file: the time of a step at each of its shapes")
    args = parser.parse_args()
    if args.study:
        shapes_of_study(args.study)
    else:
        for shape in SHAPES:
            against_others(*shape)


def against_others(d_model: int, n_layers: int, n_heads: int, vocab: int, batch: int, length: int) -> None:
    experiment = Experiment(
        model=DecoderConfig(vocab_size=vocab, d_model=d_model, n_layers=n_layers, n_heads=n_heads,
                            d_ff=4 * d_model),
        data=DataConfig(corpus=CorpusConfig(name="sotu"), sequence_length=length,
                        tokenizer=TokenizerConfig(kind="bpe", vocab_size=vocab)),
        parametrization=ParametrizationConfig(name="standard"),
        optimizer=AdamWConfig(learning_rate=RATE),
        schedule=ScheduleConfig(shape="constant", warmup_fraction=0.0, max_warmup_steps=0),
        batch_size=batch, n_steps=1_000_000, evaluation=EvaluationConfig(batch_size=batch),
    )
    rows = np.random.default_rng(0).integers(2, vocab, (64, batch, length + 1)).astype(np.int32)
    program = Program(experiment, MeshConfig(), bos_id=1)
    start = program.init(experiment)
    params = jax.tree.map(np.array, start.params)  # copies: our first step is given the buffers
    contestants = {
        "ours": ours(program, start, program.hyperparameters(experiment), rows),
        "plain JAX": plain(params, rows),
    }
    for name, compiled in (("PyTorch eager", False), ("torch.compile", True)):
        try:
            contestants[name] = torch_loop(params, rows, compiled)
        except Exception as error:  # whatever a compiler that is not there raises
            print(f"{name}: left out, {type(error).__name__}: {str(error).splitlines()[0][:90]}")
    with compiling():  # the others, too, shall not search what compilers left of the heap
        first = {name: run(4) for name, run in contestants.items()}
    for name, losses in first.items():
        np.testing.assert_allclose(losses, first["ours"], rtol=2e-4, err_msg=name)
    steps = {}
    for name, run in contestants.items():
        begun = time.perf_counter()
        run(32)
        steps[name] = max(1, int(32 * SECONDS_A_BLOCK / (time.perf_counter() - begun)))
    seconds = {name: [] for name in contestants}
    order = list(contestants)
    for turn in range(TURNS):
        begins = turn % len(order)
        for name in order[begins:] + order[:begins]:
            run = contestants[name]
            run(1)
            begun = time.perf_counter()
            run(steps[name])
            seconds[name].append((time.perf_counter() - begun) / steps[name])
    shown = table(f"d{d_model}.L{n_layers}, {batch} x {length} tokens", ">ms a step", ">GFLOP/s", ">ratio")
    for name, times in seconds.items():
        ratio = np.median(np.array(times) / np.array(seconds["ours"]))
        rate = flops_per_step(experiment) / np.median(times) / 1e9
        shown.add_row(name, f"{1e3 * np.median(times):.2f}", f"{rate:.1f}", f"{ratio:.2f}")
    console().print(shown)


def ours(program: Program, start: TrainState, hyperparameters: RunHyperparameters, rows: np.ndarray):
    """n -> losses of n further steps; a chunk's are read while the next is on its way, as in training."""
    state = [start]

    def taken(losses: jax.Array, k: int) -> np.ndarray:
        return np.asarray(losses)[:k]

    def run(n: int) -> np.ndarray:
        losses, behind, done = [], None, 0
        while done < n:
            first = done % len(rows)
            k = min(n - done, program.max_chunk, len(rows) - first)
            state[0], metrics = program.train_chunk(state[0], rows[first : first + k], hyperparameters)
            if behind is not None:
                losses.append(taken(*behind))
            behind = metrics["loss"], k
            done += k
        return np.concatenate([*losses, taken(*behind)])

    return run


def plain(params: dict, rows: np.ndarray):
    step, start = plain_step(RATE)
    state = [jax.tree.map(jax.numpy.array, params)]
    state.append(start(state[0]))

    def run(n: int) -> np.ndarray:
        losses = []
        for i in range(n):
            state[0], state[1], loss = step(state[0], state[1], rows[i % len(rows)])
            losses.append(loss)  # fetched at the end: nothing waits for it
        return np.array(losses)

    return run


def torch_loop(params: dict, rows: np.ndarray, compiled: bool):
    from plain_torch import make_step

    step = make_step(params, RATE, compiled)
    return lambda n: np.array([step(rows[i % len(rows)]) for i in range(n)])


def shapes_of_study(study: str) -> None:
    shapes = {e.shape_key: e for e in plan(load_study(study).config)}
    experiments = sorted(shapes.values(), key=flops_per_step)
    shown = table(">width", ">layers", ">ms a step", ">GFLOP/s")
    for experiment, seconds in zip(experiments, time_steps(experiments)):
        model = experiment.model
        rate = flops_per_step(experiment) / seconds / 1e9
        shown.add_row(str(model.d_model), str(model.n_layers), f"{1e3 * seconds:.2f}", f"{rate:.1f}")
    console().print(shown)


if __name__ == "__main__":
    restart_with_tuned_malloc()  # for all: PyTorch takes its memory from the same malloc
    main()
