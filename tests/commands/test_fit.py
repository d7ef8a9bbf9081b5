"""`scaling fit`: the method of the intervals, and which checkpoints are fitted."""

import json
import sys

import pytest

from scaling.cli import main
from scaling.laws.uncertainty.resampling import ALL_METHODS

LAW = ["--law", "chinchilla", "--bootstrap", "30"]


@pytest.fixture
def fitted(capsys):
    """The JSON of a fit."""

    def fit(*arguments):
        assert main(["fit", *arguments, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return fit


@pytest.fixture(scope="module")
def checkpoints_csv(runs_csv, tmp_path_factory):
    """The runs of `runs_csv`, each with an early checkpoint: half of its tokens, a higher loss."""
    header, *rows = open(runs_csv).read().split()
    lines = [f"run_id,{header}"]
    for i, row in enumerate(rows):
        n, d, loss, flops = map(float, row.split(","))
        lines.append(f"r{i},{n:g},{d / 2:g},{loss * 1.03},{flops / 2:g}")
        lines.append(f"r{i},{row}")
    path = tmp_path_factory.mktemp("checkpoints") / "runs.csv"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_every_method_says_what_it_did(fitted, runs_csv):
    pytest.importorskip("emcee")
    quick = ["--law", "kaplan_c", "--bootstrap", "30"]
    by_method = {m: fitted(runs_csv, *quick, "--method", m) for m in ALL_METHODS}
    assert len({body["bootstrap"]["method"] for body in by_method.values()}) == len(ALL_METHODS)
    assert len({str(body["intervals"]) for body in by_method.values()}) == len(ALL_METHODS)
    assert len({str(body["params"]) for body in by_method.values()}) == 1
    chain = by_method["posterior"]["bootstrap"]
    assert chain["method"].startswith("posterior by emcee") and "autocorrelation" in chain["method"]
    assert chain["replicates"] == 30


@pytest.mark.parametrize("law", [[], ["--law", "chinchilla"]])
def test_the_posterior_without_its_sampler(runs_csv, capsys, monkeypatch, law):
    monkeypatch.setitem(sys.modules, "emcee", None)
    assert main(["fit", runs_csv, "--method", "posterior", *law]) == 2
    assert "pip install 'scaling[posterior]'" in capsys.readouterr().err


def test_last_checkpoints_alone(fitted, runs_csv, checkpoints_csv):
    """The same law as of a table that never had the others, which are listed."""
    whole = fitted(checkpoints_csv, *LAW)
    last = fitted(checkpoints_csv, *LAW, "--last-checkpoints")
    assert whole["n_points"] == 30 and last["n_points"] == 15
    assert [d["row"] for d in last["dropped"]] == list(range(1, 31, 2))
    assert last["params"] == pytest.approx(fitted(runs_csv, *LAW)["params"], rel=1e-9)
    assert last["params"] != pytest.approx(whole["params"], rel=1e-3)


def test_last_checkpoints_of_a_multiverse_are_one_of_its_choices(checkpoints_csv, capsys):
    assert main(["fit", checkpoints_csv, "--multiverse", "1e18", "--last-checkpoints"]) == 2
    assert "--multiverse fits all rows" in capsys.readouterr().err
