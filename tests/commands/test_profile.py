"""scaling profile: times that add up, and go to what costs."""

import json

import pytest

from scaling.cli import main
from scaling.experiment import Experiment
from scaling.gin_config import load_experiment

QUICK = ("--seconds", "0.2", "--json")


@pytest.fixture
def profile(experiment_gin, tmp_path, monkeypatch, capsys):
    """Calls the command on the toy experiment, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        capsys.readouterr()
        assert main(["profile", experiment_gin, *QUICK, *arguments]) == 0
        return json.loads(capsys.readouterr().out)

    return call


def test_times_add_up(profile, experiment_gin, tmp_path):
    found = profile("--out", "kept")
    experiment: Experiment = load_experiment(experiment_gin).config
    assert found["tokens_per_second"] * found["seconds"] == pytest.approx(experiment.tokens_per_step)
    assert 0 <= found["starved"] <= 1
    traced = found["traced"]
    parts = {part["part"]: part for part in traced["parts"]}
    assert {"attention", "attention_scores", "mlp", "norm", "unembedding", "optimizer"} <= set(parts)
    total = sum(part["seconds"] for part in parts.values())
    assert total + traced["idle"] == pytest.approx(traced["seconds"])
    for part in parts.values():
        passes = part["forward"] + part["recomputed"] + part["backward"]
        assert passes == pytest.approx(part["seconds"])
    by_part = sum(part["flops"] or 0 for part in parts.values())
    assert by_part == pytest.approx(found["flops"]["exact"])
    assert found["flops"]["unmasked"] < found["flops"]["exact"]
    assert traced["unnamed"] < 0.01
    assert found["mfu"] is None  # a CPU has no peak
    assert list((tmp_path / "kept").rglob("*.xplane.pb"))


def test_time_goes_to_the_part_that_is_made_large(profile):
    def share(found, name):
        return next(p["share"] for p in found["traced"]["parts"] if p["part"] == name)

    thin, wide = profile(), profile("-b", "DecoderConfig.d_ff=4096")
    assert share(thin, "mlp") < 0.5 < share(wide, "mlp")


def test_nothing_is_kept_unless_asked(profile, tmp_path):
    profile()
    assert list(tmp_path.iterdir()) == []


def test_a_table_to_read(experiment_gin, capsys):
    assert main(["profile", experiment_gin, "--seconds", "0.2"]) == 0
    shown = capsys.readouterr().out
    assert "tokens/s" in shown and "attention_scores" in shown and "idle" in shown
    assert "MFU" not in shown


def test_utilisation_where_the_peak_is_known(profile, experiment_gin, capsys, monkeypatch):
    monkeypatch.setattr("scaling.commands.profile.peak_flops_per_second", lambda kind: 1e12)
    found = profile()
    for convention, rate in found["flops_per_second"].items():
        assert found["mfu"][convention] == pytest.approx(rate / 1e12)
    assert main(["profile", experiment_gin, "--seconds", "0.2"]) == 0
    assert ", MFU " in capsys.readouterr().out
