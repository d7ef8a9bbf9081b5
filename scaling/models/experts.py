"""A mixture of experts in place of an MLP: each token chooses a few of them.

Router probabilities are a softmax over all experts, in float32. A token goes to the experts it finds
most likely, and what they put out is summed with those probabilities as weights: as they are for one
expert a token (Switch, Fedus et al. 2022), over their sum for more (GShard, Lepikhin et al. 2021;
Mixtral, Jiang et al. 2024). Padding is not routed: it takes no room and does not count in the balance.

Without a capacity no token is dropped, and each depends on those that it attends to alone. With one,
tokens of a row compete for room across segments, those to the left first, all choices of one before
any of the next: so a row remains causal, where GShard's order (every token's first choice before any
second) lets a later token take the room of an earlier one.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from scaling.models.config import TransformerConfig
from scaling.models.forward import Forward, Routing
from scaling.models.layers import MLP, Dense, activated, parameter
from scaling.models.parameter import Stack

# x and the name of a matrix: x times the matrix of each row's own expert.
_Multiply = Callable[[jax.Array, str], jax.Array]


class Experts(Dense):
    """MLPs of one shape and their router; `shared` is an MLP for all tokens beside them."""

    def __init__(self, config: TransformerConfig, stack: Stack):
        super().__init__(config, stack, "experts")
        each, embed, mlp = {"expert": config.n_experts}, {"embed": config.d_model}, {"mlp": config.d_ff}
        self.router = parameter(stack, embed | each, "router", "router", ("embed",))
        self.add("up", embed, mlp, each)
        if config.gated:
            self.add("gate", embed, mlp, each)
        self.add("down", mlp, embed, each)
        if config.shared_expert:
            self.shared = MLP(config, stack)

    @jax.named_scope("experts")
    def __call__(self, x_BTD: jax.Array, forward: Forward) -> jax.Array:
        config = self._config
        with jax.named_scope("router"):
            x32_BTD = x_BTD.astype(jnp.float32)
            logits_BTE = jnp.einsum("btd,de->bte", x32_BTD, self.router[...], precision="highest")
        forward.tap("router_logits", logits_BTE)
        probabilities_BTE = jax.nn.softmax(logits_BTE, axis=-1)
        weights_BTJ, choice_BTJ = jax.lax.top_k(probabilities_BTE, config.experts_per_token)
        if config.experts_per_token > 1:
            weights_BTJ = weights_BTJ / weights_BTJ.sum(-1, keepdims=True)
        live_BT = jnp.ones(x_BTD.shape[:2], bool) if forward.live_BT is None else forward.live_BT
        chosen_BTJE = jax.nn.one_hot(choice_BTJ, config.n_experts, dtype=jnp.int32)
        chosen_BTJE = chosen_BTJE * live_BT[:, :, None, None]
        if config.capacity_factor:
            y_BTJD, kept_BTJ = self._with_capacity(x_BTD, choice_BTJ, chosen_BTJE, forward)
        else:
            y_BTJD, kept_BTJ = self._dropless(x_BTD, choice_BTJ, chosen_BTJE), live_BT[..., None]
        forward.routed(_routing(logits_BTE, probabilities_BTE, chosen_BTJE, kept_BTJ, live_BT))
        y_BTD = (y_BTJD * weights_BTJ[..., None].astype(y_BTJD.dtype)).sum(2)
        return y_BTD + self.shared(x_BTD, forward) if config.shared_expert else y_BTD

    def _dropless(
        self, x_BTD: jax.Array, choice_BTJ: jax.Array, chosen_BTJE: jax.Array
    ) -> jax.Array:
        """What each token's experts put out, [B, T, J, D].

        Assignments are sorted by expert and multiplied by `jax.lax.ragged_dot`, padding last. On TPUs
        each row meets one expert's matrix; where XLA has no such kernel (CPUs) it multiplies every row
        by every expert's and keeps one product, at n_experts times the cost.
        """
        n_chosen, d_model = choice_BTJ.shape[-1], x_BTD.shape[-1]
        live_M = chosen_BTJE.any(-1).reshape(-1)
        expert_M = jnp.where(live_M, choice_BTJ.reshape(-1), self._config.n_experts)
        order_M = jnp.argsort(expert_M, stable=True)
        sizes_E = chosen_BTJE.sum((0, 1, 2))
        live_M1, expert_M = live_M[order_M][:, None], expert_M[order_M]
        # rows past the last expert's are undefined: nothing of theirs may pass, in either direction
        x_MD = jnp.where(live_M1, x_BTD.reshape(-1, d_model)[order_M // n_chosen], 0)

        def multiply(x_MX: jax.Array, name: str) -> jax.Array:
            y = jax.lax.ragged_dot(x_MX, getattr(self, name)[...].astype(x_MX.dtype), sizes_E)
            return self.biased(name, y, lambda bias_EX: bias_EX[expert_M])

        y_MD = jnp.where(live_M1, self._mlp(x_MD, multiply), 0)
        return y_MD[jnp.argsort(order_M)].reshape(*choice_BTJ.shape, d_model)

    def _with_capacity(
        self, x_BTD: jax.Array, choice_BTJ: jax.Array, chosen_BTJE: jax.Array, forward: Forward
    ) -> tuple[jax.Array, jax.Array]:
        """What each token's experts put out, [B, T, J, D], 0 of those without room; bool [B, T, J].

        An expert has C slots a row, all of which are computed, empty or not.
        """
        (n_rows, length, n_chosen), n_experts = choice_BTJ.shape, self._config.n_experts
        capacity = self._config.expert_capacity(length)
        n_slots = n_experts * capacity
        chosen_BME = chosen_BTJE.reshape(n_rows, -1, n_experts)
        place_BM = ((jnp.cumsum(chosen_BME, axis=1) - 1) * chosen_BME).sum(-1)
        kept_BM = chosen_BME.any(-1) & (place_BM < capacity)
        slot_BM = choice_BTJ.reshape(n_rows, -1) * capacity + place_BM
        slot_BM = jnp.where(kept_BM, slot_BM, n_slots)  # one more slot, for all that is dropped
        token_M = jnp.arange(length * n_chosen) // n_chosen
        empty_BS = jnp.full((n_rows, n_slots + 1), length)
        token_BS = empty_BS.at[jnp.arange(n_rows)[:, None], slot_BM].set(token_M)[:, :-1]
        axes = ("expert_batch", "expert", "length", "embed")
        x_BECD = _taken(x_BTD, token_BS).reshape(n_rows, n_experts, capacity, -1)
        x_BECD = forward.constrain(x_BECD, axes)

        def multiply(x_BECX: jax.Array, name: str) -> jax.Array:
            weight = getattr(self, name)[...].astype(x_BECX.dtype)
            y = jnp.einsum("becx,exy->becy", x_BECX, weight)
            return self.biased(name, y, lambda bias_EY: bias_EY[:, None])

        y_BECD = forward.constrain(self._mlp(x_BECD, multiply), axes)
        y_BMD = _taken(y_BECD.reshape(n_rows, n_slots, -1), slot_BM)
        return y_BMD.reshape(*choice_BTJ.shape, -1), kept_BM.reshape(choice_BTJ.shape)

    def _mlp(self, x: jax.Array, multiply: _Multiply) -> jax.Array:
        return multiply(activated(self._config, lambda name: multiply(x, name)), "down")


def _taken(x_BSD: jax.Array, index_BM: jax.Array) -> jax.Array:
    """[B, M, D], rows of x by their index; zeros where it is S."""
    zero = jnp.zeros_like(x_BSD[:, :1])
    return jnp.take_along_axis(jnp.concatenate([x_BSD, zero], axis=1), index_BM[..., None], axis=1)


def _routing(
    logits_BTE: jax.Array,
    probabilities_BTE: jax.Array,
    chosen_BTJE: jax.Array,
    kept_BTJ: jax.Array,
    live_BT: jax.Array,
) -> Routing:
    n_experts = logits_BTE.shape[-1]
    live = live_BT.astype(jnp.float32)
    n_live = jnp.maximum(live.sum(), 1)
    chosen_BTJ = chosen_BTJE.any(-1)
    assigned_BE = chosen_BTJE.sum((1, 2)).astype(jnp.float32)
    share_E = assigned_BE.sum(0) / jnp.maximum(assigned_BE.sum(), 1)
    mean_E = (probabilities_BTE * live[..., None]).sum((0, 1)) / n_live
    squares_BT = jax.nn.logsumexp(logits_BTE, axis=-1) ** 2
    return Routing(
        assigned_BE=assigned_BE,
        dropped_B=(chosen_BTJ & ~kept_BTJ).sum((1, 2)).astype(jnp.float32),
        balance=n_experts * (share_E * mean_E).sum(),
        z=(squares_BT * live).sum() / n_live,
        busiest=n_experts * share_E.max(),
    )
