"""tune, apply, verify and plan --transfer, as their commands do it, on a toy corpus."""

import json
from pathlib import Path

import pytest

from scaling.cli import main

STUDY = """
TransferStudy.name = 'toy'
TransferStudy.base = @Experiment()
TransferStudy.proxies = @Proxies()
Experiment.batch_size = 4
Experiment.n_steps = 40
AdamWConfig.learning_rate = 0.06
EvaluationConfig.n_evaluations = 1
EvaluationConfig.noise_scale_batches = 4
DecoderConfig.d_model = 8
DecoderConfig.d_ff = 32
DecoderConfig.n_heads = 1
DecoderConfig.n_layers = 1
Proxies.widths = (16,)
Proxies.horizons = (2.0,)
Proxies.octaves = (-3, -2, -1, 0, 1, 2)
Proxies.seeds = 1
Proxies.max_epochs = 20.0
"""


@pytest.fixture(scope="module")
def transfer_gin(experiment_gin, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("gin") / "transfer.gin"
    base = Path(experiment_gin).read_text()
    ours = ("DecoderConfig.d", "DecoderConfig.n", "Experiment.n", "Experiment.b", "EvaluationConfig.n")
    kept = [line for line in base.splitlines() if not line.startswith(ours)]
    path.write_text("\n".join(kept) + STUDY)
    return str(path)


@pytest.fixture(scope="module")
def tuned(transfer_gin, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("transfer") / "toy"
    assert main(["transfer", "tune", transfer_gin, "--out", str(root), "--workers", "2"]) == 0
    return root


def printed(capsys, *arguments: str) -> dict:
    capsys.readouterr()
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_proxies_are_runs_like_any_other_and_nothing_runs_twice(tuned, transfer_gin, capsys):
    status = printed(capsys, "status", str(tuned))
    assert status["counts"]["done"] == len(status["runs"]) == 18
    before = {p: p.stat().st_mtime_ns for p in tuned.rglob("*") if p.is_file()}
    again = printed(capsys, "transfer", "tune", transfer_gin, "--out", str(tuned))
    assert sorted(again["run_ids"]) == sorted(run["run_id"] for run in status["runs"])
    assert again["rules"]["measured"] == ["width", "horizon"]
    assert all(cell["noise_scale"] > 0 for cell in again["cells"])
    assert {p: p.stat().st_mtime_ns for p in tuned.rglob("*") if p.is_file()} == before


def test_apply_says_everything_that_a_run_needs(tuned, capsys):
    found = printed(capsys, "transfer", "apply", str(tuned), "--target", "d64.L1", "--tokens", "10000")
    assert found["interval"][0] < found["learning_rate"] < found["interval"][1]
    assert found["n_steps"] * found["batch_size"] * 16 == found["n_tokens"] == pytest.approx(1e4, rel=0.01)
    assert found["warmup_steps"] == pytest.approx(found["n_steps"] / 10, abs=1)
    assert found["go"] is False and found["regret"]["nats"] > 0
    assert main(["transfer", "apply", str(tuned), "--target", "d64.L1", "--tokens", "10000"]) == 0
    said = capsys.readouterr().out
    assert "NO-GO: no mid-size was verified" in said
    assert "critical batch by gradient noise" in said and "the batch of 64 tokens costs" in said


def test_apply_checks_the_slopes_of_the_axes_that_grow(tuned, capsys):
    """The toy's parametrization scales with width; of another depth nothing is said that is not asked."""
    found = printed(capsys, "transfer", "apply", str(tuned), "--target", "d64.L1", "--tokens", "10000",
                    "--check")
    (check,) = found["coordinate_checks"]
    assert (check["axis"], check["ok"], check["failures"]) == ("width", True, [])
    assert -0.5 <= check["tap_slopes"][0] <= check["tap_slopes"][1] <= 0.2 and check["n_slopes"] > 10


def test_apply_writes_the_run_as_gin(tuned, tmp_path, capsys):
    path = str(tmp_path / "target.gin")
    found = printed(capsys, "transfer", "apply", str(tuned), "--target", "d64.L1", "--tokens", "10000",
                    "--out", path)
    shown = {row["field"]: row["value"] for row in printed(capsys, "explain", path)["values"]}
    assert shown["DecoderConfig.d_model"] == 64 and shown["Experiment.n_steps"] == found["n_steps"]
    assert shown["AdamWConfig.learning_rate"] == found["learning_rate"]


def test_a_plan_takes_its_hyperparameters_from_the_file(tuned, study_gin, tmp_path, capsys):
    out = ["--out", str(tmp_path / "plan"), "--no-calibration"]
    planned = printed(capsys, "plan", study_gin, *out, "--transfer", str(tuned))
    rules = json.loads((tuned / "transfer-1.json").read_text())["rules"]
    width, _, _, horizon = rules["exponents"]
    for run in planned["runs"]:
        e = run["experiment"]
        ratio = e["n_steps"] * e["batch_size"] * 16 / (40 * 4 * 16)
        expected = rules["learning_rate"] * (e["model"]["d_model"] / 8) ** width * ratio**horizon
        assert e["optimizer"]["learning_rate"] == pytest.approx(expected)
        assert run["tags"]["mistuning_nats"] > 0
        assert run["tags"]["transfer"].startswith("transfer-1.json ")
    assert main(["plan", study_gin, *out, "--transfer", str(tuned)]) == 0  # shown, and frozen alike
    shown = capsys.readouterr()
    assert "expected mis-tuning" in shown.out and "12 are no multiples" in shown.err


def test_verify_makes_a_new_version_and_keeps_the_old(tuned, tmp_path, capsys):
    copy = tmp_path / "transfer-1.json"
    copy.write_bytes((tuned / "transfer-1.json").read_bytes())
    arguments = ["transfer", "verify", str(tmp_path), "--at", "d16.L1", "--seeds", "1", "--workers", "2"]
    found = printed(capsys, *arguments)
    assert found["version"] == 2 and len(found["verifications"]) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["transfer-1.json", "transfer-2.json", "verify"]
    assert copy.read_bytes() == (tuned / "transfer-1.json").read_bytes()
    assert len(list(tmp_path.glob("verify/*/runs/*/record.json"))) == 3


@pytest.fixture
def refused(capsys):
    def call(*arguments: object) -> str:
        capsys.readouterr()
        assert main([str(a) for a in arguments]) == 2
        lines = capsys.readouterr().err.splitlines()
        return next(line for line in reversed(lines) if line.startswith("scaling: "))

    return call


def test_proxies_are_no_sweep_to_fit(refused, tuned):
    for command in (["fit", tuned], ["forecast", tuned, "--flops", "1e10"]):
        assert "holds the runs of a transfer study" in refused(*command)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--target", "d12.L1", "--tokens", "1e4"], "its width, 12, is no multiple of the base shape's, 8"),
        (["--target", "d64", "--tokens", "1e4"], "such as d256.L8"),
        (["--target", "d64.L2", "--tokens", "1e4"], "did not scan the depth"),
        (["--target", "d64.L1", "--tokens", "0"], "above 0"),
        (["--target", "d64.L1", "--tokens", "1e4", "--out", "target.json"], "ends in .gin"),
        (["--target", "d64.L1", "--tokens", "1e4", "--out", "nowhere/target.gin"], "no folder nowhere"),
    ],
)
def test_bad_targets(refused, tuned, arguments, words):
    assert words in refused("transfer", "apply", tuned, *arguments)


def test_a_stale_file_is_refused_by_a_plan(refused, tuned, study_gin, tmp_path):
    plan = ["plan", study_gin, "--out", tmp_path / "out", "--no-calibration", "--transfer", tuned]
    other = {
        "ParametrizationConfig.name='mup'": "tuned for the parametrization table",
        "DataConfig.validation_rows=150": "tuned on the data",
        "AdamWConfig.b1=0.5": "tuned with AdamWConfig.b1 = 0.9, not 0.5",
        "DecoderConfig.qk_norm=True": "tuned with DecoderConfig.qk_norm",
        "Experiment.optimizer=@LionConfig()": "tuned with optimizer = 'AdamWConfig', not 'LionConfig'",
    }
    for binding, words in other.items():
        assert words in refused(*plan, "-b", binding)
    assert not (tmp_path / "out").exists()


def test_an_edge_and_a_study_of_another_kind(refused, transfer_gin, study_gin, tmp_path):
    narrow = ["-b", "Proxies.octaves=(-8,-7,-6)", "-b", "Proxies.widths=()", "-b", "Proxies.horizons=()"]
    out = ["--out", tmp_path / "narrow", "--workers", "1"]
    said = refused("transfer", "tune", transfer_gin, *out, *narrow)
    assert "is the largest of its grid; widen Proxies.octaves" in said
    assert "TransferStudy" in refused("transfer", "tune", study_gin, "--out", tmp_path / "x")
    assert "no transfer file here" in refused("transfer", "apply", tmp_path, "--target", "d8.L1",
                                               "--tokens", "1e4")


def test_diverged_proxies_are_named(refused, transfer_gin, tmp_path):
    """The wider proxies' rates are 80 octaves up: their squares overflow."""
    wild = ["-b", "Proxies.grid_slope=80.0", "-b", "Proxies.horizons=()"]
    said = refused("transfer", "tune", transfer_gin, "--out", tmp_path / "wild", "--workers", "1", *wild)
    assert "d16.L1, batch 4" in said and "0 usable learning rates, and an optimum needs 3" in said
    assert "runs diverged at " in said


def test_fit_shows_the_law_with_and_without_mis_tuning(runs_csv, tmp_path, capsys, refused):
    lines = Path(runs_csv).read_text().splitlines()
    path = tmp_path / "runs.csv"
    path.write_text("\n".join([lines[0] + ",mistuning_nats", *(line + ",0.1" for line in lines[1:])]))
    options = ["--correct-mistuning", "--bootstrap", "10", "--law", "chinchilla"]
    found = printed(capsys, "fit", str(path), *options)
    floors = [found[name]["params"]["E"] for name in ("as_measured", "corrected")]
    assert floors[0] - floors[1] == pytest.approx(0.1, abs=0.02)  # a constant comes off the floor
    assert main(["fit", str(path), *options]) == 0
    assert "corrected for mis-tuning" in capsys.readouterr().out
    assert "no column mistuning_nats" in refused("fit", runs_csv, *options)
    assert "is for one" in refused("fit", path, *options, "--certify")
