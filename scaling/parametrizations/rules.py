"""Per-parameter rules of a parametrization, resolved against a base shape.

At the base shape every parametrization is the same function; away from it each says how a leaf's
init and learning rate follow its fan-in. `standard` keeps one learning rate for all widths;
`standard_layerwise` (Everett et al. 2024, "Scaling Exponents Across Parameterizations and
Optimizers") scales Adam's rate of hidden and unembedding matrices by base fan-in / fan-in, which
is what keeps the size of their updates' effect independent of width.
"""

import dataclasses
from typing import Any, Literal

import jax

from scaling.config import Config
from scaling.models.parameter import ParamSpec


@dataclasses.dataclass(frozen=True, kw_only=True)
class ParametrizationConfig(Config):
    """A named table of rules, its base shape, and constants per role that a proxy tunes.

    base_d_model, base_d_ff: the width and MLP width at which every multiplier is 1.
    *_std: standard deviation of the embedding table; those of matrices, and of a table tied to the
        unembedding, are times fan_in^-1/2.
    *_lr: learning rate of a role over that of hidden matrices, at the base shape.
    """

    name: Literal["standard", "standard_layerwise"] = "standard_layerwise"
    base_d_model: int = 64
    base_d_ff: int = 256
    embedding_std: float = 1.0
    hidden_std: float = 1.0
    unembedding_std: float = 1.0
    embedding_lr: float = 1.0
    vector_lr: float = 1.0
    unembedding_lr: float = 1.0

    def validate(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name in ("base_d_model", "base_d_ff"):
                self.require(value >= 1, field.name, "an integer of at least 1")
            elif field.name != "name":
                self.require(value >= 0, field.name, "a number of at least 0")


@dataclasses.dataclass(frozen=True)
class Rule:
    """What a parametrization says of one parameter.

    init_std: standard deviation at initialisation (vectors start at 1 instead).
    lr_mult: factor on the schedule's learning rate. decays: whether weight decay applies.
    """

    init_std: float
    lr_mult: float
    decays: bool


def rule(config: ParametrizationConfig, spec: ParamSpec) -> Rule:
    """The rule of one parameter."""
    layerwise = config.name == "standard_layerwise"
    if spec.role == "embed":
        # a tied table is also the unembedding, whose products must start of order 1
        std = config.embedding_std * (spec.fan_in**-0.5 if spec.in_axes else 1.0)
        return Rule(std, config.embedding_lr, decays=True)
    if spec.role == "vector":
        return Rule(0.0, config.vector_lr, decays=False)
    if spec.role in ("hidden", "unembed"):
        hidden = spec.role == "hidden"
        std = (config.hidden_std if hidden else config.unembedding_std) * spec.fan_in**-0.5
        base_fan_in = config.base_d_ff if "mlp" in spec.in_axes else config.base_d_model
        width_ratio = spec.fan_in / base_fan_in
        constant = 1.0 if hidden else config.unembedding_lr
        return Rule(std, constant / width_ratio if layerwise else constant, decays=True)
    raise AssertionError(f"no rule for the role {spec.role!r}")


def parameter_rules(config: ParametrizationConfig, specs: Any) -> Any:
    """Tree of `Rule` with the structure of `specs`; every parameter gets exactly one."""
    return jax.tree.map(lambda spec: rule(config, spec), specs)


def rules_table(config: ParametrizationConfig, specs: Any) -> list[dict[str, Any]]:
    """One row a parameter, resolved: name, shape, axes, role, init_std, lr_mult, decays."""
    rows = []
    for path, spec in jax.tree_util.tree_leaves_with_path(specs):
        resolved = rule(config, spec)
        rows.append(
            {
                "parameter": "/".join(entry.key for entry in path),
                "shape": list(spec.shape),
                "axes": list(spec.axes),
                "role": spec.role,
                **dataclasses.asdict(resolved),
            }
        )
    return rows
