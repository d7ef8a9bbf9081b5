"""Table 3 and Table 8 of Tensor Programs V are one function: an abc shift leads from one to the other.

The weight a matrix acts with is multiplier x w. Multiplier times f, initial deviation and Adam's
rate over f: the same acting weights at every step, where epsilon grows by f as the gradient does.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from scaling.models import DecoderConfig, build_model
from scaling.optim import AdamWConfig, Hyperparameters, Optimizer, ScheduleConfig
from scaling.parametrizations import ParametrizationConfig, forward_multipliers, parameter_rules

N_STEPS = 12
CONFIG = ParametrizationConfig(name="mup", base_d_model=8, base_d_ff=16, base_d_head=4)
MODEL = build_model(DecoderConfig(vocab_size=30, d_model=32, n_layers=2, n_heads=2, d_ff=64))
ADAMW = AdamWConfig(learning_rate=0.02, epsilon=1e-3, weight_decay=0.01, clip_norm=1e9)
OPTIMIZER = Optimizer(ADAMW, "linear", MODEL.specs)


def losses(rules, forward) -> list[float]:
    params = MODEL.init(0, jax.tree.map(lambda rule: jnp.float32(rule.init_std), rules))
    hp = Hyperparameters.of(ADAMW, ScheduleConfig(), N_STEPS, rules)
    state, found = OPTIMIZER.init(params), []
    tokens = np.random.default_rng(0).integers(0, 30, (4, 9))
    for i in range(N_STEPS):
        loss, params, state = step(params, state, tokens, hp, forward, i)
        found.append(float(loss))
    return found


@jax.jit
def step(params, state, tokens, hp, forward, i):
    def mean_loss(params):
        zeros = jnp.zeros_like(tokens[:, :-1])
        batch = {
            "decoder_input_tokens": tokens[:, :-1],
            "decoder_positions": zeros + jnp.arange(8),
            "decoder_segment_ids": zeros,
        }
        log_p = jax.nn.log_softmax(MODEL.apply(params, batch, forward))
        return -jnp.take_along_axis(log_p, tokens[:, 1:, None], -1).mean()

    loss, gradients = jax.value_and_grad(mean_loss)(params)
    params, state, _ = OPTIMIZER.update(hp, params, state, gradients, i)
    return loss, params, state


def test_the_two_tables_train_alike_bit_for_bit():
    rules, forward = parameter_rules(CONFIG, MODEL.specs), forward_multipliers(CONFIG, MODEL.specs)
    readout, m = rules["unembedding"], 4.0
    assert forward.readout == 1 / m
    table_3 = rules | {
        "unembedding": dataclasses.replace(  # variance 1/fan_in^2, rate 1/fan_in, no multiplier
            readout, init_std=readout.init_std / m, lr_mult=readout.lr_mult / m,
            eps_mult=readout.eps_mult * m,
        )
    }
    forward = jax.tree.map(jnp.float32, forward)
    table_8 = losses(rules, forward)
    assert losses(table_3, forward._replace(readout=jnp.float32(1.0))) == table_8
    assert table_8[-1] < table_8[0] - 0.1
    without = forward._replace(readout=jnp.float32(1.0))
    assert losses(rules, without) != table_8  # the multiplier is felt
