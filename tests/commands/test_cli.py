"""The command's surface: help, versions, JSON, exit statuses."""

import json
import math
import subprocess
import sys

import pytest

import scaling
from scaling.cli import COMMANDS, main

SHOWN = [name for name in COMMANDS if name not in ("worker", "supervise", "calibrate")]


def strict(text: str):
    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


def exit_status(arguments: list[str]) -> int:
    """Of a call that argparse ends."""
    with pytest.raises(SystemExit) as left:
        main(arguments)
    return left.value.code


def test_help_lists_every_command(capsys):
    assert exit_status(["--help"]) == 0
    shown = capsys.readouterr().out
    for name, (_, text) in COMMANDS.items():
        assert (name in shown and text in shown) == (name in SHOWN), name


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command, capsys):
    assert exit_status([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"usage: scaling {command}" in shown and "SUPPRESS" not in shown


def test_version(capsys):
    assert exit_status(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"scaling {scaling.__version__}"


@pytest.mark.parametrize(
    "arguments",
    [[], ["trian"], ["forecast"], ["plan", "x.gin"], ["fit", "x.csv", "--bootstrap", "many"],
     ["forecast", "x.csv", "--flops", "lots"], ["sweep", "x", "--launcher", "moon"],
     ["status", "a", "b"], ["verify", "a"]],
    ids=" ".join,
)
def test_usage_errors_are_one_line_and_exit_with_2(arguments, capsys):
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("scaling: ") and said.count("\n") == 1 and len(said) > 20


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["--nonsense"]])
def test_help_and_version_do_not_wait_for_jax(arguments):
    code = "import sys; from scaling.cli import main\n" \
           f"try: main({arguments})\n" \
           "except SystemExit: pass\n" \
           "slow = {'jax', 'flax', 'pandas', 'tensorflow', 'grain'} & set(sys.modules)\n" \
           "sys.exit(f'imported {slow}' if slow else 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_python_m_scaling_is_the_command(scaling_process):
    done = scaling_process("--version")
    assert (done.returncode, done.stdout) == (0, f"scaling {scaling.__version__}\n")


def test_train_prints_its_record(experiment_gin, tmp_path, capsys):
    run_dir = tmp_path / "run"
    assert main(["train", experiment_gin, "--run-dir", str(run_dir), "--json"]) == 0
    record = strict(capsys.readouterr().out)
    assert record == json.loads((run_dir / "record.json").read_text())
    assert main(["train", str(run_dir / "experiment.json"), "--run-dir", str(run_dir)]) == 0
    assert "ok: loss" in capsys.readouterr().out
    # what is kept as gin is the experiment, whole
    again = tmp_path / "again"
    assert main(["train", str(run_dir / "config.gin"), "--run-dir", str(again), "--json"]) == 0
    assert strict(capsys.readouterr().out)["run_id"] == record["run_id"]


def test_a_diverged_run_is_no_mistake_of_the_user(experiment_gin, tmp_path, capsys):
    bindings = ["-b", "AdamWConfig.learning_rate = 1e30"]
    where = ["--run-dir", str(tmp_path / "run")]
    assert main(["train", experiment_gin, *bindings, *where, "--json"]) == 0
    assert strict(capsys.readouterr().out)["status"] == "diverged"
    assert main(["train", experiment_gin, *bindings, *where]) == 0
    assert "non-finite loss at step" in capsys.readouterr().out


def test_explain_says_where_values_come_from(experiment_gin, capsys):
    bound = ["-b", "Experiment.n_steps = 33"]
    assert main(["explain", experiment_gin, *bound, "--json"]) == 0
    explained = strict(capsys.readouterr().out)
    values = {v["field"]: v for v in explained["values"]}
    assert values["Experiment.n_steps"] == {
        "field": "Experiment.n_steps", "value": 33, "source": "binding 1"
    }
    assert values["DecoderConfig.d_model"]["source"].startswith(f"{experiment_gin}:")
    assert values["AdamWConfig.b1"]["source"] == "default"
    assert sum(explained["n_params"].values()) == explained["n_params_by_convention"]["total"]
    assert sum(explained["forward_flops"].values()) == pytest.approx(
        explained["traced_forward_flops"]
    )
    assert main(["explain", experiment_gin, *bound]) == 0


def test_plan_prints_what_it_froze(study_gin, tmp_path, capsys):
    root = tmp_path / "sweep"
    command = ["plan", study_gin, "--out", str(root), "--no-calibration", "--json"]
    assert main(command) == 0
    first = strict(capsys.readouterr().out)
    lines = (root / "plan.jsonl").read_text().splitlines()
    assert first["runs"] == [json.loads(line) for line in lines]
    assert first["study"] == json.loads((root / "study.json").read_text())
    assert main(command) == 0
    assert strict(capsys.readouterr().out) == first


def test_the_gin_kept_with_a_plan_makes_the_same_plan(planned, tmp_path):
    root = tmp_path / "again"
    gin = str(planned / "study.gin")
    assert main(["plan", gin, "--out", str(root), "--no-calibration"]) == 0
    assert (root / "plan.jsonl").read_bytes() == (planned / "plan.jsonl").read_bytes()


def test_status_of_a_sweep_that_has_not_begun(planned, capsys):
    assert main(["status", str(planned), "--json"]) == 0
    status = strict(capsys.readouterr().out)
    assert status["counts"]["missing"] == len(status["runs"]) == 9
    assert main(["status", str(planned)]) == 0


def test_fit_and_forecast_of_a_csv(runs_csv, tmp_path, capsys):
    options = ["--bootstrap", "30"]
    assert main(["fit", runs_csv, *options, "--json"]) == 0
    fit = strict(capsys.readouterr().out)
    assert fit["n_points"] == 15 and set(fit["laws"]) == {"isoflop", "chinchilla"}
    assert main(["fit", runs_csv, *options]) == 0
    seal = str(tmp_path / "seal.json")
    at = ["--flops", "1e18", *options]
    capsys.readouterr()
    assert main(["forecast", runs_csv, *at, "--seal", seal, "--json"]) == 0
    forecast = strict(capsys.readouterr().out)
    n = math.sqrt(1e18 / 6 / 20)
    truth = 1.7 + 400 / n**0.34 + 410 / (1e18 / 6 / n) ** 0.28
    assert forecast["loss"] == pytest.approx(truth, rel=0.02)
    low, high = forecast["predictive_interval"]
    assert low < forecast["loss"] < high
    assert strict((tmp_path / "seal.json").read_text())["forecast"]["loss"] == forecast["loss"]
    assert main(["forecast", runs_csv, *at]) == 0
    by_size = ["--params", f"{n:.6g}", "--tokens", f"{1e18 / 6 / n:.6g}", *options]
    assert main(["forecast", runs_csv, *by_size]) == 0
    measured = tmp_path / "measured.csv"
    measured.write_text(f"n_params,n_tokens,loss\n{forecast['n_params']},{forecast['n_tokens']},{truth}\n")
    capsys.readouterr()
    assert main(["verify", seal, str(measured)]) == 0
    assert "1 of 1 runs inside" in capsys.readouterr().out


def test_doctor_finds_the_machine_in_order(capsys):
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert "cpu" in shown and "writable" in shown and "works" in shown


def test_a_reader_that_leaves_is_no_fault(planned):
    """`true` is gone long before the table comes."""
    command = f"{sys.executable} -m scaling status {planned} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
