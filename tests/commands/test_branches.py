"""scaling train --branches: one trunk, and a decay from it for each length."""

import json

import pytest

from scaling.cli import main

WSD = [
    "-b", "ScheduleConfig.shape='wsd'", "-b", "ScheduleConfig.decay_fraction=0.5",
    "-b", "ScheduleConfig.warmup_fraction=1.0", "-b", "ScheduleConfig.max_warmup_steps=2",
]


def records(capsys, *arguments: str) -> list[dict]:
    capsys.readouterr()
    assert main(["train", *arguments, "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_branches_are_the_runs_of_their_lengths_and_share_a_trunk(experiment_gin, tmp_path, capsys):
    asked = [experiment_gin, *WSD, "--branches", "20,8,12", "--run-dir", str(tmp_path / "runs")]
    trunk, *branches = records(capsys, *asked)
    assert trunk["n_steps"] == 11  # 10 of the longest at the peak, and the first of its decay is too
    assert [(b["n_steps"], b["tags"]["branch"]["step"]) for b in branches] == [(8, 5), (12, 7), (20, 11)]
    assert {b["tags"]["branch"]["trunk"] for b in branches} == {trunk["run_id"]}
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == ["12", "20", "8", "trunk"]
    (alone,) = records(capsys, experiment_gin, *WSD, "-b", "Experiment.n_steps=12", "--run-dir",
                       str(tmp_path / "alone"))
    assert alone["final"] == branches[1]["final"]
    assert records(capsys, *asked) == [trunk, *branches]  # nothing runs twice


@pytest.mark.parametrize(
    "options, words",
    [
        (["--branches", ""], "at least one number of steps"),
        (["--branches", "8,x"], "--branches '8,x': expected updates"),
        (["--branches", "8", "--keep-steps", "4"], "--branches makes its own trunk"),
        (["--branches", "8", "-b", "ScheduleConfig.shape='linear'"], "expected 'wsd'"),
        (["--branches", "8,20", "-b", "ScheduleConfig.max_warmup_steps=50", "-b",
          "ScheduleConfig.warmup_fraction=0.1"], "let ScheduleConfig.max_warmup_steps decide"),
    ],
)
def test_mistakes(experiment_gin, tmp_path, capsys, options, words):
    assert main(["train", experiment_gin, *WSD, *options, "--run-dir", str(tmp_path / "runs")]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
