"""The coordinate check passes what is right, and each single-line fault of the rules is caught.

Factors and options are arguments of few compiled programs, so most of these tests only run them.
"""

import dataclasses
import functools

import jax
import matplotlib.image
import pytest

from scaling.errors import UserError
from scaling.models import DecoderConfig, EncoderDecoderConfig, build_model
from scaling.optim import AdamWConfig
from scaling.parametrizations import ParametrizationConfig
from scaling.parametrizations import rules as rules_module
from scaling.parametrizations.coordinate_check import (
    coordinate_check,
    plot_coordinate_check,
    resolve,
)
from scaling.parametrizations.rules import TABLES

BASE = DecoderConfig(vocab_size=64, d_model=32, n_layers=2, n_heads=2, d_ff=64)
ENCODER_DECODER = EncoderDecoderConfig(
    vocab_size=64, d_model=32, n_encoder_layers=1, n_decoder_layers=1, n_heads=2, d_ff=64
)
EVERYTHING = BASE.replace(activation="swiglu", qk_norm=True, n_kv_heads=1, biases=True, norm="layer")
TIED = BASE.replace(tie_embeddings=True)
MUP = ParametrizationConfig(name="mup")
SMALL_TABLE = MUP.replace(embedding_std=0.2)  # a tied readout cannot start at zero, but near it
DEPTHS = (1, 2, 4, 8)  # 2 to 16 layers
FACTORS = {"width": (1, 2, 4), "mlp": (1, 2, 4), "head_size": (2, 4, 8), "depth": DEPTHS}
COMPLETEP = ParametrizationConfig(name="completep")


@functools.cache
def sound(config, base, axis, factors):
    return coordinate_check(config, base, axis, factors=factors)


@pytest.mark.parametrize(
    ("config", "base", "axis", "factors"),
    [
        (MUP, BASE, "width", (1, 2, 4, 8)),
        (ParametrizationConfig(name="standard_layerwise"), BASE, "width", (1, 2, 4, 8)),
        (MUP, BASE, "head_size", FACTORS["head_size"]),
        pytest.param(MUP, BASE, "mlp", (1, 2, 4), marks=pytest.mark.slow),
        pytest.param(SMALL_TABLE, TIED, "width", (1, 2, 4), marks=pytest.mark.slow),
        (COMPLETEP, BASE, "depth", DEPTHS),
        (MUP, ENCODER_DECODER, "width", FACTORS["width"]),
        pytest.param(MUP, EVERYTHING, "width", FACTORS["width"], marks=pytest.mark.slow),
        pytest.param(COMPLETEP, ENCODER_DECODER, "depth", (2, 4, 8), marks=pytest.mark.slow),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_sound_parametrization_passes(config, base, axis, factors):
    check = sound(config, base, axis, factors)
    assert check.ok, [str(finding) for finding in check.failures]
    assert {f.kind for f in check.findings} == {"tap", "update", "epsilon", "decay"}


def test_standard_blows_up_with_width():
    check = sound(ParametrizationConfig(name="standard"), BASE, "width", (1, 2, 4, 8))
    assert max(f.slope for f in check.findings if f.kind == "tap") > 0.5


def test_without_rules_for_depth_the_residual_stream_blows_up():
    check = sound(MUP, BASE, "depth", DEPTHS)
    assert check.slope("tap", "residual") > 0.5
    assert not check.ok


def test_half_alpha_leaves_queries_lazy():
    check = sound(COMPLETEP.replace(depth_alpha=0.5), BASE, "depth", DEPTHS)
    assert check.slope("tap", "query") < -0.3
    assert any(f.name == "query" for f in check.failures)


def row(role, **changes):
    """A fault in one row of muP's and CompleteP's tables."""

    def plant(monkeypatch):
        for name in ("mup", "completep"):
            table = TABLES[name]
            monkeypatch.setitem(TABLES, name, table | {role: table[role]._replace(**changes)})

    return plant


def sums_over(axis_of_fan):
    """Fan-in counted over one axis only."""

    def plant(monkeypatch):
        right = rules_module._fan_axes
        monkeypatch.setattr(
            rules_module, "_fan_axes",
            lambda config, spec: (
                [axis_of_fan] if spec.in_axes == ("heads", "kv") else right(config, spec)
            ),
        )

    return plant


def wrong_mlp_fan(monkeypatch):
    """The MLP's output matrix takes its fan-in for that of its input."""
    right = rules_module._fan_axes
    monkeypatch.setattr(
        rules_module, "_fan_axes",
        lambda config, spec: ["embed"] if spec.in_axes == ("mlp",) else right(config, spec),
    )


def rate_in_blocks(exponent):
    """Another exponent of M on the rates of a block's leaves."""

    def plant(monkeypatch):
        right = rules_module.rule

        def wrong(config, spec):
            found = right(config, spec)
            if spec.stack is None:
                return found
            depth = rules_module.depth_ratio(config, spec)
            return dataclasses.replace(found, lr_mult=found.lr_mult * depth**exponent)

        monkeypatch.setattr(rules_module, "rule", wrong)

    return plant


def no_residual_multiplier(monkeypatch):
    right = rules_module.forward_multipliers

    def wrong(config, specs):
        return right(config, specs)._replace(decoder_residual=1.0)

    monkeypatch.setattr(rules_module, "forward_multipliers", wrong)


def nothing(monkeypatch):
    pass


# name: (how it is planted, config, options of the model, axis, what must be out of bounds)
FAULTS = {
    "rate of hidden matrices not divided by m": (row("hidden", lr=0), MUP, {}, "width", "update"),
    "init of hidden matrices by the base's fan-in": (
        row("hidden", std="base_fan_in"), MUP, {}, "width", "tap",
    ),
    "no 1/m on the readout": (row("unembed", forward=0), MUP, {}, "width", "tap output"),
    "no 1/m on a tied readout": (
        row("tied", forward=0), SMALL_TABLE, {"tie_embeddings": True}, "width", "tap output",
    ),
    "rate of the unembedding divided by m as well": (
        row("unembed", lr=-1), MUP, {}, "width", "update unembedding",
    ),
    "rate of the embedding divided by m": (
        row("embed", lr=-1), MUP, {}, "width", "update embedding",
    ),
    "rate of gains divided by m": (
        row("vector", lr=-1), MUP, {}, "width", "update final_norm/gain",
    ),
    "attention by 1/sqrt(d_head)": (
        nothing, MUP.replace(attention_exponent=-0.5), {}, "head_size", "tap attention_logits",
    ),
    "fan-in of the attention's output over one axis": (
        sums_over("kv"), MUP, {}, "width", "update layers/attention/out",
    ),
    "fan-in of the MLP's output by d_model": (
        wrong_mlp_fan, MUP, {}, "mlp", "update layers/mlp/down",
    ),
    "decay coupled to the rate": (nothing, MUP, {}, "width", "decay layers/mlp/up"),
    "epsilon of hidden matrices not divided by m": (
        row("hidden", eps=0), MUP, {}, "width", "epsilon layers/mlp/up",
    ),
    "no multiplier on residual branches": (
        no_residual_multiplier, COMPLETEP, {}, "depth", "tap residual",
    ),
    "rates in blocks divided by M": (
        rate_in_blocks(-1), COMPLETEP, {}, "depth", "update layers/mlp/up",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught(fault, monkeypatch):
    plant, config, options, axis, where = FAULTS[fault]
    base, factors = BASE.replace(**options), FACTORS[axis]
    decay = "coupled" if fault.startswith("decay") else "independent"
    optimizer = AdamWConfig(decay=decay)
    untouched = config.replace(attention_exponent=None)
    assert sound(untouched, base, axis, factors).ok  # it is the fault that is found
    plant(monkeypatch)
    check = coordinate_check(
        config, base, axis, factors=factors, optimizer=optimizer,
        resolve=lambda config, specs: (
            jax.tree.map(lambda spec: rules_module.rule(config, spec), specs),
            rules_module.forward_multipliers(config, specs),
        ),
    )
    found = [f"{finding.kind} {finding.name}" for finding in check.failures]
    assert any(name.startswith(where) for name in found), found


def matrices_of(part, **fields):
    """Rules, wrong in the hidden matrices below one part of the model: new field of (rule, 1 / m)."""

    def wrong(config, specs):
        rules, forward = resolve(config, specs)

        def edit(path, spec, found):
            if spec.role != "hidden" or part not in [entry.key for entry in path]:
                return found
            changes = {name: change(found, found.lr_mult) for name, change in fields.items()}
            return dataclasses.replace(found, **changes)

        return jax.tree_util.tree_map_with_path(edit, specs, rules), forward

    return wrong


def no_multiplier_on(stack):
    def wrong(config, specs):
        rules, forward = resolve(config, specs)
        return rules, forward._replace(**{f"{stack}_residual": 1.0})

    return wrong


# of an encoder-decoder: (rules, config, axis, factors, what must be out of bounds)
DEEP = (COMPLETEP, "depth", (2, 4, 8))
WIDE = (MUP, "width", FACTORS["width"])
CROSS_FAULTS = {
    "rate of cross-attention not divided by m": (
        matrices_of("cross_attention", lr_mult=lambda rule, _: 1.0), *WIDE,
        "update layers/cross_attention",
    ),
    "init of cross-attention by the base's fan-in": (
        matrices_of("cross_attention", init_std=lambda rule, share: rule.init_std * share**-0.5), *WIDE,
        "tap cross_",
    ),
    "rates of the encoder not divided by m": (
        matrices_of("encoder_layers", lr_mult=lambda rule, _: 1.0), *WIDE, "update encoder_layers",
    ),
    "rates of the encoder divided by m twice": (
        matrices_of("encoder_layers", lr_mult=lambda rule, share: share**2), *WIDE, "update encoder_layers",
    ),
    "epsilon of the encoder not divided by m": (
        matrices_of("encoder_layers", eps_mult=lambda rule, _: 1.0), *WIDE, "epsilon encoder_layers",
    ),
    "no multiplier on the encoder's branches": (no_multiplier_on("encoder"), *DEEP, "tap encoder_residual"),
    "no multiplier on the decoder's branches": (no_multiplier_on("decoder"), *DEEP, "tap residual"),
}


@pytest.mark.parametrize(
    "fault",
    [pytest.param(name, marks=pytest.mark.slow) if "branches" in name else name for name in CROSS_FAULTS],
)
def test_a_fault_planted_in_an_encoder_decoder_is_caught(fault):
    wrong, config, axis, factors, where = CROSS_FAULTS[fault]
    assert sound(config, ENCODER_DECODER, axis, factors).ok
    check = coordinate_check(config, ENCODER_DECODER, axis, factors=factors, resolve=wrong)
    found = [f"{finding.kind} {finding.name}" for finding in check.failures]
    assert any(name.startswith(where) for name in found), found


def test_a_check_says_what_is_wrong_in_words():
    check = sound(MUP, BASE, "depth", DEPTHS)
    worst = max(check.failures, key=lambda finding: finding.slope)
    assert str(worst).startswith(f"{worst.kind} {worst.name}: slope +")
    assert "allowed" in str(worst)


def test_the_picture_is_drawn(tmp_path):
    path = tmp_path / "check.png"
    checks = [
        sound(MUP, BASE, "width", (1, 2, 4, 8)),
        sound(MUP, BASE, "depth", DEPTHS),
    ]
    plot_coordinate_check(checks, str(path), "two")
    assert matplotlib.image.imread(path).std() > 0


@pytest.mark.parametrize(
    ("axis", "factors", "named"),
    [("wdith", (1, 2), "axis 'wdith'"), ("width", (2,), "at least two"), ("width", (0, 1), "from 1 up")],
)
def test_a_check_of_nothing_is_refused(axis, factors, named):
    with pytest.raises(UserError, match=named):
        coordinate_check(MUP, BASE, axis, factors=factors)


def test_the_default_rules_are_the_config_s():
    rules, forward = resolve(MUP, build_model(BASE).specs)
    assert forward == rules_module.forward_multipliers(MUP, build_model(BASE).specs)
    assert rules["unembedding"] == rules_module.rule(MUP, build_model(BASE).specs["unembedding"])
