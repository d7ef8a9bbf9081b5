"""scaling plan --aot, on XLA's stand-in; the real compiler is in test_compile.py."""

import importlib.metadata
import importlib.util
import json

import pytest

from scaling.cli import main
from scaling.commands import aot


@pytest.fixture
def aot_of(monkeypatch, compiler, capsys):
    """Runs the command; gives its status and what it printed."""
    monkeypatch.setattr(aot, "compile_step", compiler)
    monkeypatch.setattr(aot, "nearest_fit", lambda step, log: search(step, log, compiler))
    monkeypatch.setattr(aot, "check_compiler", lambda target: None)
    search = importlib.import_module("scaling.aot.search").nearest_fit

    def run(*arguments):
        status = main(["plan", *arguments])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


def test_figures_of_one_experiment(aot_of):
    status, out, _ = aot_of("models/decoder_1b.gin", "--aot", "v5p:4x4x8", "--json")
    (step,) = json.loads(out)["aot"]
    assert status == 0 and step["fits"] and step["n_devices"] == 128
    assert {axis: n for axis, n in step["mesh"].items() if n > 1} == {"fsdp": 128}
    assert step["peak_bytes"] == 2 * 2**30 + step["memory"]["temporaries"]  # donated output counts once
    seconds = step["seconds"]
    assert seconds["compute"] == pytest.approx(1.25 * step["exact_flops"] / 459e12)
    assert seconds["hbm"] == pytest.approx(1e12 / 2765e9)
    assert seconds["ici"] == pytest.approx(4e9 * 3 / 4 / 600e9)
    assert step["step_seconds"] == max(seconds.values())
    assert step["mfu_bound"] == pytest.approx(step["exact_flops"] / 459e12 / step["step_seconds"])


def test_tables_of_one_experiment(aot_of):
    status, out, _ = aot_of("models/decoder_1b.gin", "--aot", "v5p:4x4x8")
    assert status == 0 and "MFU at most" in out
    assert "decoder-1b: 10 all-gather of 3,814.7 MiB together" in out


def test_each_shape_of_a_study_is_compiled_once(aot_of, compiler):
    status, out, _ = aot_of("sweeps/demo.gin", "--aot", "v5e:2x2", "--mesh", "data=4")
    assert status == 2 and "MFU" not in out  # the stand-in's state of 100 GiB is not split over `data`
    pairs = [(experiment.shape_key, mesh) for experiment, mesh in compiler.tried]
    assert len(pairs) == len(set(pairs))
    assert len({experiment.model.d_model for experiment, _ in compiler.tried}) == 9


def test_what_does_not_fit_is_refused_with_what_would(aot_of):
    status, out, err = aot_of("models/decoder_1b.gin", "--aot", "v5e:4x4")
    assert status == 2 and "no" in out
    last = err.strip().splitlines()[-1]
    assert last.startswith("scaling: 1 of 1 shapes do not fit v5e:4x4 (16 chips): decoder-1b wants")
    assert "nearest change that fits: --mesh fsdp=16,microbatches=2" in last


def test_without_libtpu(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["plan", "models/decoder_1b.gin", "--aot", "v5e:4x4"]) == 2
    assert "pip install 'scaling[tpu]'" in capsys.readouterr().err


def test_without_the_cuda_plugin(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["plan", "models/decoder_1b.gin", "--aot", "h200:8"]) == 2
    assert "pip install 'scaling[cuda]'" in capsys.readouterr().err


def test_of_a_gpu_s_memory_jax_takes_three_quarters(aot_of):
    """256 rows a device want 140 GiB of the stand-in, in two parts 76, in four 44; an H100 has 79."""
    status, _, err = aot_of("models/decoder_1b.gin", "--aot", "h100:8", "-b", "Experiment.batch_size=2048")
    last = err.strip().splitlines()[-1]
    assert status == 2 and "of 79 GiB HBM, of which JAX takes 75%; nearest change that fits: " in last
    assert "--mesh fsdp=8,microbatches=4 (44.5" in last


def test_another_libtpu_than_jax_s_own_is_refused_before_it_compiles(monkeypatch, capsys):
    version = importlib.metadata.version
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(importlib.metadata, "version",
                        lambda name: "0.0.1" if name == "libtpu" else version(name))
    assert main(["plan", "models/decoder_1b.gin", "--aot", "v5e:4x4"]) == 2
    assert "libtpu 0.0.1 does not go with jax" in capsys.readouterr().err


@pytest.mark.parametrize("arguments, says", [
    (["--aot", "v9:4x4"], "no chip 'v9'"),
    (["--aot", "v5e:4x4", "--mesh", "fsdp=3"], "has 3 devices"),
    (["--aot", "v5e:4x4", "--mesh", "expret=3"], "no axis 'expret'"),
    (["--mesh", "fsdp=3", "--out", "x"], "expected --aot"),
])
def test_mistakes_are_one_line(aot_of, arguments, says):
    status, out, err = aot_of("models/decoder_1b.gin", *arguments)
    assert status == 2 and says in err and len(err.splitlines()) == 1 and not out
