"""From the loss of a sweep's runs to the error of a task they were asked as they trained."""

import collections
import json
import random

import numpy as np
import pytest

from scaling.cli import main


def questions(corpus, n: int = 300) -> str:
    """Which word follows? The one that mostly does in the corpus, against any other."""
    follows, said = collections.defaultdict(collections.Counter), []
    for file in sorted(corpus.glob("*.txt")):
        words = file.read_text().split()[1:]
        said += words
        for word, after in zip(words, words[1:]):
            follows[word][after] += 1
    draw, lines = random.Random(0), []
    for _ in range(n):
        word = draw.choice(said)  # the frequent ones are asked more often
        right = follows[word].most_common(1)[0][0]
        wrong = draw.choice(sorted(w for w in follows if w != right and len(w) == len(right)))
        answer = draw.randint(0, 1)
        choices = [wrong, right] if answer else [right, wrong]
        lines.append(json.dumps({"context": word, "choices": choices, "answer": answer}))
    return "\n".join(lines) + "\n"


@pytest.mark.slow
def test_the_error_of_a_task_is_fitted_to_the_loss_of_a_sweep(study_gin, corpus, tmp_path, capsys):
    (tmp_path / "successor.jsonl").write_text(questions(corpus))
    root, tasks = tmp_path / "asked", f"EvaluationConfig.tasks=('{tmp_path / 'successor.jsonl'}',)"
    assert main(["plan", study_gin, "--out", str(root), "--no-calibration", "-b", tasks]) == 0
    assert main(["sweep", str(root), "--workers", "2"]) == 0
    records = [json.loads(path.read_text()) for path in root.glob("runs/*/record.json")]
    assert len(records) == 9
    losses = np.array([r["final"]["loss"] for r in records])
    errors = 1 - np.array([r["downstream"]["tasks"]["successor"]["accuracy"] for r in records])
    assert np.corrcoef(losses, errors)[0, 1] > 0.5

    def fit(*arguments: str) -> int:
        capsys.readouterr()
        return main(["fit", str(root), "--bootstrap", "30", *arguments])

    assert fit("--law", "task_error_exponential", "--task", "successor", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    p = found["params"]
    foretold = p["epsilon"] - p["k"] * np.exp(-p["gamma"] * losses)  # Gadre et al. 2024, equation 5
    assert np.abs(foretold - errors).mean() < 0.05  # of 300 questions, one standard error is 0.027
    assert found["n_points"] == 9
    assert fit("--law", "task_error_exponential", "--task", "successor") == 0  # as a table, too
    assert "task_error" in capsys.readouterr().out

    assert fit("--law", "task_error_exponential", "--task", "sucessor") == 2
    assert "did you mean 'successor'?" in capsys.readouterr().err
    assert fit("--law", "task_error_exponential") == 2
    assert "say whose with --task: successor\n" in capsys.readouterr().err
