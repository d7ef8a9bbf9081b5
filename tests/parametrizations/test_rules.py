import jax
import pytest

from scaling.errors import UserError
from scaling.models import DecoderConfig, build_model
from scaling.parametrizations import (
    ParametrizationConfig,
    parameter_rules,
    rules_table,
)

BASE = ParametrizationConfig(
    base_d_model=32, base_d_ff=96, embedding_std=0.7, hidden_std=1.3, unembedding_std=0.4,
    embedding_lr=20.0, vector_lr=0.5, unembedding_lr=3.0,
)


def table(config: ParametrizationConfig, d_model: int, d_ff: int, **changes) -> dict[str, dict]:
    model = DecoderConfig(vocab_size=50, d_model=d_model, n_heads=2, d_ff=d_ff, **changes)
    return {row["parameter"]: row for row in rules_table(config, build_model(model).specs)}


OPTIONS = [
    {},
    {"activation": "swiglu", "qk_norm": True},
    {"tie_embeddings": True, "scan_layers": True},
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", ["standard", "standard_layerwise"])
def test_every_parameter_has_one_rule_and_one_row(name, options):
    config = BASE.replace(name=name)
    model = DecoderConfig(vocab_size=50, d_model=32, n_heads=2, d_ff=96, **options)
    specs = build_model(model).specs
    rules = parameter_rules(config, specs)
    assert jax.tree.structure(rules) == jax.tree.structure(specs)
    rows = rules_table(config, specs)
    assert len({row["parameter"] for row in rows}) == len(rows) == len(jax.tree.leaves(specs))
    for row, rule, spec in zip(rows, jax.tree.leaves(rules), jax.tree.leaves(specs), strict=True):
        assert {name: row[name] for name in vars(rule)} == vars(rule)
        assert (tuple(row["shape"]), tuple(row["axes"]), row["role"]) == (
            spec.shape, spec.axes, spec.role
        )


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", ["standard", "standard_layerwise"])
def test_at_the_base_shape_every_multiplier_is_its_role_s_constant(name, options):
    constants = {"embed": 20.0, "hidden": 1.0, "vector": 0.5, "unembed": 3.0}
    for row in table(BASE.replace(name=name), 32, 96, **options).values():
        assert row["lr_mult"] == constants[row["role"]]
    for row in table(ParametrizationConfig(name=name), 64, 256, **options).values():
        assert row["lr_mult"] == 1


def test_standard_keeps_its_rates_at_every_width():
    config = BASE.replace(name="standard")
    small, large = table(config, 32, 96), table(config, 128, 768)
    assert {n: r["lr_mult"] for n, r in small.items()} == {n: r["lr_mult"] for n, r in large.items()}


@pytest.mark.parametrize("options", OPTIONS)
def test_layerwise_rates_fall_with_fan_in(options):
    """d_model x 2 and d_ff x 8: matrices that read the MLP's hidden units go by d_ff, others by d_model."""
    small, large = table(BASE, 32, 96, **options), table(BASE, 64, 768, **options)
    for name, row in small.items():
        ratio = large[name]["lr_mult"] / row["lr_mult"]
        if row["role"] in ("embed", "vector"):
            assert ratio == 1, name
        else:
            assert ratio == pytest.approx(1 / 8 if name.endswith("mlp/down") else 1 / 2), name
    assert any(name.endswith("mlp/down") for name in small)


@pytest.mark.parametrize("name", ["standard", "standard_layerwise"])
def test_matrices_start_at_one_over_root_fan_in(name):
    """Fan-in is what the product sums over: heads times head size for the attention's output."""
    rows = table(BASE.replace(name=name), 64, 768, activation="swiglu", scan_layers=True)
    for parameter, row in rows.items():
        fan_in = 768 if parameter.endswith("mlp/down") else 64
        expected = {
            "embed": 0.7, "vector": 0.0, "hidden": 1.3 * fan_in**-0.5, "unembed": 0.4 * 64**-0.5,
        }[row["role"]]
        assert row["init_std"] == pytest.approx(expected), parameter


def test_norm_gains_and_nothing_else_escape_decay():
    for row in table(BASE, 64, 768, qk_norm=True).values():
        assert row["wd_mult"] == (not row["parameter"].endswith("gain"))


@pytest.mark.parametrize("changes", [{"base_d_model": 0}, {"hidden_std": -1.0}, {"name": "mupp"}])
def test_impossible_values_are_refused(changes):
    with pytest.raises(UserError, match=f"ParametrizationConfig.{next(iter(changes))} = "):
        ParametrizationConfig(**changes)
