"""`scaling design` on a CSV and on a sweep's folder, and what `scaling plan` expects of its runs."""

import contextlib
import io
import json
import math
import re
import shutil

import numpy as np
import pytest

from scaling.cli import main
from scaling.commands.sources import entries_of
from scaling.results import Evaluation, RunRecord, write_record

QUICK = ["--bootstrap", "30"]


def answer(capsys, *arguments) -> dict:
    capsys.readouterr()
    assert main([str(a) for a in arguments]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture(scope="module")
def finished(planned, tmp_path_factory):
    """The toy study with a record for each run, of losses of a known law."""
    root = tmp_path_factory.mktemp("finished") / "sweep"
    shutil.copytree(planned, root)
    draw = np.random.default_rng(0)
    for line in (root / "plan.jsonl").read_text().splitlines():
        entry = json.loads(line)
        n = sum(entry["n_params"].values()) - entry["n_params"]["embedding"]
        loss = (2 + 20 / n**0.3 + 30 / entry["n_tokens"] ** 0.35) * math.exp(draw.normal(0, 0.002))
        end = Evaluation(step=1, n_tokens_seen=1, loss=loss, standard_error=0.01, bits_per_byte=loss)
        write_record(root / "runs" / entry["run_id"], RunRecord(
            run_id=entry["run_id"], status="ok", reason=None, experiment=entry["experiment"],
            tags=entry["tags"], seed=0, n_steps=entry["experiment"]["n_steps"],
            n_tokens=entry["n_tokens"], n_epochs=entry["epochs"], n_params=entry["n_params"],
            train_flops=entry["train_flops"], final=end, best=end, evaluations=[end], curve=[],
            wall_seconds=1.0, train_seconds=1.0, compile_seconds=0.0, flops_per_second=None, mfu=None,
            device="a processor", mesh={"data": 1}, data={}, versions={}, commit=None,
            finished_at="2026-01-01T00:00:00+00:00",
        ))
    return root


def test_design_of_a_csv(runs_csv, capsys):
    arguments = ["design", runs_csv, *QUICK, "--target", "loss@1e19", "--budget", "3e17"]
    proposal = answer(capsys, *arguments, "--runs", "2", "--json")
    assert proposal["law"] == "chinchilla" and proposal["n_points"] == 15
    assert 1 <= len(proposal["runs"]) <= 2 and 0 < proposal["narrowing"] < 1
    assert sum(r["flops"] for r in proposal["runs"]) == proposal["flops"] <= 3e17 * (1 + 1e-9)
    assert answer(capsys, *arguments, "--runs", "2", "--json") == proposal
    assert main([*arguments, "--runs", "2"]) == 0
    shown = capsys.readouterr().out
    assert "loss@1e19" in shown and f"{proposal['runs'][0]['n_params']:.4g}" in shown


@pytest.mark.parametrize("law", [["--law", "chinchilla"], []])
def test_design_from_a_law_file(runs_csv, tmp_path, capsys, law):
    """The same proposal as from the rows; how it was fitted is the file's to say."""
    path = str(tmp_path / "law.json")
    assert main(["fit", runs_csv, *QUICK, *law, "--out", path]) == 0
    wanted = ["--target", "loss@1e19", "--budget", "3e17", "--json"]
    assert answer(capsys, "design", path, *wanted)["runs"] == answer(
        capsys, "design", runs_csv, *QUICK, *wanted)["runs"]
    assert main(["design", path, *wanted, "--law", "chinchilla"]) == 2
    assert main(["design", path, *wanted, "--delta", "0.01"]) == 2


def test_design_with_sizes_and_a_limit_a_run(runs_csv, capsys):
    proposal = answer(
        capsys, "design", runs_csv, *QUICK, "--target", "n_exponent", "--budget", "3e17", "--runs", "4",
        "--sizes", "2e7", "4e7", "--max-flops-per-run", "1e17", "--json",
    )
    assert {r["n_params"] for r in proposal["runs"]} <= {20_000_000, 40_000_000}
    assert max(r["flops"] for r in proposal["runs"]) <= 1e17


def test_design_of_a_sweep_keeps_to_its_ladder(finished, capsys):
    """Every proposal is an experiment of whole steps, priced as the plan prices, with a new seed."""
    arguments = ["design", finished, *QUICK, "--target", "n_exponent", "--budget", "4e9", "--runs", "3"]
    proposal = answer(capsys, *arguments, "--json")
    planned = [json.loads(line) for line in (finished / "plan.jsonl").read_text().splitlines()]
    assert len(proposal["entries"]) == len(proposal["runs"]) > 0
    for run, entry in zip(proposal["runs"], proposal["entries"]):
        n = sum(entry["n_params"].values()) - entry["n_params"]["embedding"]
        assert (run["n_params"], run["n_tokens"]) == (n, entry["n_tokens"])
        assert run["flops"] == entry["train_flops"]["exact"]
        assert entry["n_tokens"] == entry["experiment"]["n_steps"] * 4 * 16
        assert entry["epochs"] <= 20
        assert entry["experiment"]["seed"] not in {p["experiment"]["seed"] for p in planned}
    assert len({e["run_id"] for e in proposal["entries"]}) == len(proposal["entries"])
    assert main([str(a) for a in arguments]) == 0
    assert re.search(r"d_model \d+, \d+ layers, [\d,]+ steps", capsys.readouterr().out)


def test_design_of_a_sweep_at_given_widths(finished, capsys):
    proposal = answer(capsys, "design", finished, *QUICK, "--target", "alpha", "--budget", "4e9",
                      "--sizes", "8", "--json")
    assert {e["experiment"]["model"]["d_model"] for e in proposal["entries"]} == {8}


def test_plan_says_what_its_runs_will_tell(study_gin, tmp_path, capsys):
    command = ["plan", study_gin, "--out", tmp_path / "sweep", "--no-calibration"]
    expected = answer(capsys, *command, "--json")["expected"]
    noisier = answer(capsys, *command, "--json", "--noise", "0.03")["expected"]
    assert expected["noise"] == 0.003 and noisier["noise"] == 0.03
    exponent, n_opt, loss = (i["half_width"] for i in expected["intervals"])
    assert exponent > 0 and n_opt > loss > 0 and expected["flops"] == pytest.approx(1.2e10, rel=0.01)
    # delta, far inside the noise, passes on about sqrt(pi / 2) of it, of 0.003 a little less
    assert noisier["intervals"][0]["half_width"] / exponent == pytest.approx(10, rel=0.15)
    assert main([str(a) for a in command]) == 0
    shown = capsys.readouterr().out
    assert f"exponent of N* ±{exponent:.2g}" in shown and "assumed for that: run-to-run noise" in shown


def changed(body, **changes):
    return json.dumps({**body, **changes})


DESIGNS = {
    "another study": (lambda body: changed(body, study="0" * 64), "designed for another study"),
    "a CSV's": (lambda body: json.dumps({k: v for k, v in body.items() if k != "entries"}), "no runs of a"),
    "half an entry": (lambda body: changed(body, entries=[{"run_id": "r"}]), "holds no runs of a ladder"),
    "no entries": (lambda body: changed(body, entries=[]), "nothing to run"),
    "another run id": (lambda body: changed(body, entries=[{**body["entries"][0], "run_id": "mine"}]),
                       "edited by hand"),
    "half a file": (lambda body: json.dumps(body)[:50], "no design"),
}


@pytest.fixture(scope="module")
def proposal(finished):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        wanted = ["--target", "alpha", "--budget", "4e9", "--json"]
        assert main(["design", str(finished), *QUICK, *wanted]) == 0
    return json.loads(out.getvalue())


@pytest.mark.parametrize("case", DESIGNS)
def test_a_sweep_runs_no_other_design(finished, proposal, tmp_path, capsys, case):
    edit, words = DESIGNS[case]
    file = tmp_path / "next.json"
    file.write_text(edit(proposal))
    assert main(["sweep", str(finished), "--designed", str(file)]) == 2
    assert words in capsys.readouterr().err


def test_a_design_names_its_runs_longest_first(finished, proposal, tmp_path):
    file = tmp_path / "next.json"
    file.write_text(json.dumps(proposal))
    entries = entries_of(finished, designed=str(file))
    assert {e["run_id"] for e in entries} == {e["run_id"] for e in proposal["entries"]}
    flops = [sum(e["train_flops"].values()) for e in entries]
    assert flops == sorted(flops, reverse=True)


@pytest.mark.parametrize("options, words", [
    (["--target", "gama", "--budget", "1e17"], "no target 'gama'"),
    (["--target", "loss", "--budget", "1e17"], "at which budget"),
    (["--target", "alpha", "--budget", "1e12"], "fewer than the cheapest fitted run"),
    (["--target", "alpha", "--budget", "-1"], "--budget -1: expected FLOPs above 0"),
    (["--target", "alpha", "--budget", "1e17", "--max-flops-per-run", "nan"], "--max-flops-per-run nan"),
    (["--target", "alpha", "--budget", "1e17", "--runs", "0"], "0 runs: expected 1 to 50"),
    (["--target", "alpha", "--budget", "1e17", "--sizes", "0"], "at least 1"),
    (["--target", "alpha", "--budget", "1e17", "--law", "chinchila"], "chinchilla"),
    (["--target", "alpha", "--budget", "1e17", "--law", "hestness_n"], "its columns are n_params"),
    (["--target", "alpha", "--budget", "1e17", "--tokens-per-param", "5", "2"], "0 < low <= high"),
])
def test_what_cannot_be_designed_is_refused_in_a_line(runs_csv, capsys, options, words):
    assert main(["design", runs_csv, *QUICK, *options]) == 2
    line, = capsys.readouterr().err.splitlines()
    assert line.startswith("scaling: ") and words in line


@pytest.mark.parametrize("options, words", [
    (["--tokens-per-param", "1", "9"], "IsoFlop.min_tokens_per_param"),
    (["--sizes", "8.5"], "whole widths"),
    (["--sizes", "4000"], "no run of up to"),
    (["--budget", "1e8"], "below that of the cheapest finished run"),
])
def test_what_a_ladder_cannot_do_is_refused_in_a_line(finished, capsys, options, words):
    given = ["--target", "alpha", *([] if "--budget" in options else ["--budget", "4e9"])]
    assert main(["design", str(finished), *QUICK, *given, *options]) == 2
    assert words in capsys.readouterr().err.splitlines()[-1]


def test_noise_of_a_plan_is_checked(study_gin, tmp_path, capsys):
    assert main(["plan", study_gin, "--out", str(tmp_path / "s"), "--noise", "0"]) == 2
    assert "--noise 0: expected a standard deviation" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()
