"""One training step of a tiny decoder, against a decoder written again in NumPy float64."""

import itertools

import jax
import numpy as np
import pytest

from scaling.data import DataConfig, TokenizerConfig
from scaling.experiment import EvaluationConfig, Experiment
from scaling.models import DecoderConfig
from scaling.optim import AdamWConfig, ScheduleConfig
from scaling.parametrizations import ParametrizationConfig
from scaling.partitioning import MeshConfig
from scaling.training.program import Program

BOS = 1
DECIDE = (
    "The first training step is no longer the one that this test's own decoder takes. If you meant"
    " to change the model, its loss or the optimizer, change the reference here in the same commit"
    " and say in its message that runs from before cannot be compared with runs from after."
    " If you did not mean to, this is a bug."
)

EXPERIMENT = Experiment(
    model=DecoderConfig(
        vocab_size=257, d_model=8, n_layers=1, n_heads=2, d_ff=6, rope_base=100.0, norm_epsilon=1e-3
    ),
    data=DataConfig(
        tokenizer=TokenizerConfig(kind="byte", vocab_size=257), sequence_length=7
    ),
    parametrization=ParametrizationConfig(
        base_d_model=4, base_d_ff=4, attention_exponent=-0.5, epsilon_rule="constant",
        embedding_lr=3.0, unembedding_lr=0.5, vector_lr=0.7,
    ),
    optimizer=AdamWConfig(
        learning_rate=0.02, epsilon=0.01, weight_decay=0.03, clip_norm=0.5, b1=0.8, b2=0.9
    ),
    schedule=ScheduleConfig(shape="linear", warmup_fraction=0.2),
    batch_size=2,
    n_steps=20,
    evaluation=EvaluationConfig(batch_size=2),
)

# Two documents in each row; the first of them begins before the row does.
ROWS = np.array([[5, 6, 7, BOS, 8, 9, 5, 6], [10, BOS, 11, 12, 6, 6, BOS, 7]])


def norm(x, gain):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-3) * gain


def turned(x_TK: np.ndarray) -> np.ndarray:
    result, half = x_TK.copy(), x_TK.shape[1] // 2
    for position, i in np.ndindex(len(x_TK), half):
        angle = position * 100.0 ** (-i / half)
        low, high = x_TK[position, i], x_TK[position, i + half]
        result[position, i] = low * np.cos(angle) - high * np.sin(angle)
        result[position, i + half] = high * np.cos(angle) + low * np.sin(angle)
    return result


def final_vectors(params: dict[str, np.ndarray], tokens: np.ndarray) -> np.ndarray:
    """[T, D], what the unembedding reads, for one document from position 0, or its tail."""
    x = params["embedding"][tokens]
    p = {name.removeprefix("layers/000/"): value for name, value in params.items()}
    y = norm(x, p["attention_norm/gain"])
    for head in range(2):
        query, key, value = (y @ p[f"attention/{n}"][:, head] for n in ("query", "key", "value"))
        scores = turned(query) @ turned(key).T / 2  # the root of the head size, 4
        scores[np.triu_indices(len(tokens), 1)] = -np.inf
        weights = np.exp(scores)
        x = x + weights / weights.sum(-1, keepdims=True) @ value @ p["attention/out"][head]
    hidden = norm(x, p["mlp_norm/gain"]) @ p["mlp/up"]
    cubic = np.sqrt(2 / np.pi) * (hidden + 0.044715 * hidden**3)
    x = x + (0.5 * hidden * (1 + np.tanh(cubic))) @ p["mlp/down"]
    return norm(x, params["final_norm/gain"])


def reference(params: dict[str, np.ndarray]) -> tuple[float, np.ndarray]:
    """Mean nats a target, document by document, and its gradient in the unembedding [D, V]."""
    nats, gradient = [], np.zeros_like(params["unembedding"])
    for row in ROWS:
        starts = [0, *np.flatnonzero(row[:-1] == BOS), len(row) - 1]
        for start, stop in itertools.pairwise(starts):
            inputs, targets = row[start:stop], row[start + 1 : stop + 1]
            vectors = final_vectors(params, inputs)
            p = np.exp(vectors @ params["unembedding"])
            p /= p.sum(-1, keepdims=True)
            for t in np.flatnonzero(targets != BOS):
                nats.append(-np.log(p[t, targets[t]]))
                gradient += np.outer(vectors[t], p[t] - (np.arange(p.shape[1]) == targets[t]))
    return float(np.mean(nats)), gradient / len(nats)


def reference_gradient(params: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """By central differences, whose error is about 1e-9; tokens that do not occur have none."""
    gradient = {name: np.zeros_like(value) for name, value in params.items()}
    gradient["unembedding"] = reference(params)[1]
    for name in params.keys() - {"unembedding"}:
        value = params[name]
        for index in np.ndindex(value.shape):
            if name == "embedding" and index[0] not in ROWS:
                continue
            kept, losses = value[index], []
            for step in (1e-5, -1e-5):
                value[index] = kept + step
                losses.append(reference(params)[0])
            value[index] = kept
            gradient[name][index] = (losses[0] - losses[1]) / 2e-5
    return gradient


def flat(tree) -> dict[str, np.ndarray]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {"/".join(e.key for e in path): np.asarray(leaf, np.float64) for path, leaf in leaves}


@pytest.fixture(scope="module")
def stepped():
    """Parameters before and after one update, and its metrics."""
    program = Program(EXPERIMENT, MeshConfig(), BOS)
    state = program.init(EXPERIMENT)
    # Gains away from 1, or a norm that ignores them would pass.
    draws = np.random.default_rng(0)
    params = jax.tree.map(
        lambda spec, leaf: leaf * draws.uniform(0.5, 1.5, spec.shape).astype("f4")
        if spec.role == "vector" else leaf,
        program.model.specs, state.params,
    )
    before = flat(params)
    params = jax.device_put(params, program.state_shardings.params)
    after, metrics = program.train_chunk(
        state._replace(params=params), ROWS[None], program.hyperparameters(EXPERIMENT)
    )
    return before, flat(after.params), {name: float(m[0]) for name, m in metrics.items()}


@pytest.fixture(scope="module")
def gradient(stepped) -> dict[str, np.ndarray]:
    return reference_gradient({name: value.copy() for name, value in stepped[0].items()})


def global_norm(tree: dict[str, np.ndarray]) -> float:
    return float(np.sqrt(sum((leaf**2).sum() for leaf in tree.values())))


def test_loss_of_the_first_step(stepped):
    before, _, metrics = stepped
    assert metrics["loss"] == pytest.approx(reference(before)[0], rel=2e-6), DECIDE


def test_gradient_norm_of_the_first_step(stepped, gradient):
    assert stepped[2]["gradient_norm"] == pytest.approx(global_norm(gradient), rel=1e-5), DECIDE


def test_parameters_after_the_first_step(stepped, gradient):
    """Adam's first direction is g / (|g| + epsilon); warm-up of 4 steps makes the rate a fifth."""
    before, after, metrics = stepped
    factor = 1 / (4 + 1)
    assert metrics["learning_rate"] == pytest.approx(0.02 * factor)
    clip = min(1.0, 0.5 / global_norm(gradient))
    assert clip < 1
    for name, value in before.items():
        if name.endswith("gain"):
            multiplier, decay = 0.7, 0.0
        elif name == "embedding":
            multiplier, decay = 3.0, 0.03
        else:  # base fan-in over fan-in: 4 over d_ff = 6, or 4 over d_model = 8
            multiplier = 4 / 6 if name.endswith("mlp/down") else 4 / 8
            multiplier, decay = multiplier * (0.5 if name == "unembedding" else 1), 0.03
        g = clip * gradient[name]
        moved = value - factor * (0.02 * multiplier * g / (np.abs(g) + 0.01) + decay * value)
        np.testing.assert_allclose(after[name], moved, atol=2e-6, err_msg=f"{name}: {DECIDE}")
