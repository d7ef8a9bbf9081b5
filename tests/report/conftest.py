"""A finished study on synthetic losses: sweep, sealed forecast, target, and the page of it all."""

import dataclasses
import json
import types

import numpy as np
import pytest

from scaling.laws import fit_all, forecast, seal, seal_payload
from scaling.report import write_report
from scaling.results import Evaluation, RunRecord, read_records, runs_table, write_record

BUDGETS = (3e11, 6e11, 1.2e12, 2.4e12)
WIDTHS = ((24, 32, 40, 48, 64, 80), (24, 32, 48, 64, 80, 96), (32, 48, 64, 80, 96, 112),
          (40, 48, 64, 80, 96, 128))
VOCABULARY, LENGTH, BATCH = 1024, 64, 8


def parameters(d_model):
    """By group, of a decoder of two layers."""
    return {"embedding": VOCABULARY * d_model, "attention": 8 * d_model**2,
            "mlp": 16 * d_model**2, "norm": 5 * d_model, "unembedding": VOCABULARY * d_model}


def flops_per_token(d_model):
    return 3 * (2 * 24 * d_model**2 + 8 * LENGTH * d_model + 2 * VOCABULARY * d_model)


def record(d_model, budget, role="sweep", noise=0.0, name="study", **changes):
    """A run of known loss, 2.1 + 41 / N^0.35 + 83 / D^0.36 plus noise."""
    n_params = parameters(d_model)
    n = sum(n_params.values()) - n_params["embedding"]
    steps = round(budget / flops_per_token(d_model) / LENGTH / BATCH)
    tokens = steps * LENGTH * BATCH
    loss = 2.1 + 41 * n**-0.35 + 83 * tokens**-0.36 + noise
    end = Evaluation(step=steps, n_tokens_seen=tokens, loss=loss, standard_error=0.011,
                     bits_per_byte=loss * 0.5)
    at = np.unique(np.linspace(1, steps, 120).astype(int))
    curve = [{"step": int(s), "n_tokens": int(s) * LENGTH * BATCH,
              "loss": float(loss + (7 - loss) * np.exp(-8 * s / steps)), "gradient_norm": 0.5}
             for s in at]
    run_id = f"{name}-{role}-d{d_model}-C{budget:.3g}-s0-0a1b2c3d4e5f".replace("+", "")
    values = dict(
        run_id=run_id, status="ok", reason=None, experiment={"name": name, "seed": 0},
        tags={"study": name, "role": role, "d_model": d_model,
              "budget": budget if role == "sweep" else None},
        seed=0, n_steps=steps, n_tokens=tokens, n_epochs=tokens / 4e6, n_params=n_params,
        train_flops={"6nd": 6.0 * n * tokens, "exact": float(flops_per_token(d_model) * tokens)},
        final=end, best=end, evaluations=[end], curve=curve, wall_seconds=budget / 7e10 + 2,
        train_seconds=budget / 7e10, compile_seconds=2.0, flops_per_second=7e10, mfu=None,
        device="a processor", mesh={"data": 1}, data={"corpus": "sotu", "content_hash": "17c0b5"},
        versions={"scaling": "0.1.0", "jax": "0.10.2"}, commit="0123456789ab",
        finished_at="2026-01-01T00:00:00+00:00",
    )
    return RunRecord(**{**values, **changes})


def sweep(seed=0):
    rng = np.random.default_rng(seed)
    return [record(d, budget, noise=0.006 * rng.standard_normal())
            for budget, widths in zip(BUDGETS, WIDTHS) for d in widths]


def write_folder(root, records, planned=(), name="study"):
    """A sweep's folder with these records; `planned` ids have not run."""
    root.mkdir(parents=True, exist_ok=True)
    study = {"name": name, "plan": {"budgets": BUDGETS, "flops_convention": "exact"},
             "ladder": {"learning_rate": 0.005, "horizon_exponent": 0.3},
             "base": {"parametrization": {"name": "standard_layerwise", "base_d_model": 64,
                                          "embedding_lr": 20.0}}}
    (root / "study.json").write_text(json.dumps(study))
    lines = [{"run_id": r.run_id, "n_tokens": r.n_tokens, "train_flops": r.train_flops,
              "expected_seconds": 9.0} for r in records if r.tags["role"] == "sweep"]
    lines += [{"run_id": run_id, "n_tokens": 1, "train_flops": {"exact": 1.0},
               "expected_seconds": None} for run_id in planned]
    (root / "plan.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for one in records:
        write_record(root / "runs" / one.run_id, one)


def seal_forecast(root, target):
    """Seals what the sweep in `root` says of a run, few replicates; returns the seal."""
    fits = fit_all(runs_table([r for r in read_records(root) if r.tags["role"] == "sweep"]),
                   bootstrap=40)
    n, d = target.parameters("body_and_head"), target.n_tokens
    told = forecast(fits, flops=target.train_flops["exact"], n_params=n, n_tokens=d)
    entry = {"run_id": target.run_id, "experiment": target.experiment, "n_params": n,
             "n_tokens": d, "train_flops": target.train_flops["exact"],
             "prediction": told.to_json()}
    return seal(root / "forecast.json", seal_payload(fits, told, [entry]))


def the_target(**changes):
    return record(160, 1.2e13, role="target", finished_at="2199-01-01T00:00:00+00:00",
                  noise=0.004, **changes)


@pytest.fixture(scope="session")
def synthetic():
    """The functions above, for tests that make folders of their own."""
    return types.SimpleNamespace(record=record, sweep=sweep, write_folder=write_folder,
                                 seal_forecast=seal_forecast, the_target=the_target)


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """A study's folder with everything: one diverged run, a seal, and its target."""
    root = tmp_path_factory.mktemp("finished") / "study"
    diverged = dataclasses.replace(
        record(112, 3e11), status="diverged", reason="non-finite loss at step 40", final=None,
        best=None, evaluations=[])
    write_folder(root, [*sweep(), diverged])
    seal_forecast(root, the_target())
    write_record(root / "runs" / the_target().run_id, the_target())
    return root


@pytest.fixture(scope="session")
def page_file(study):
    return write_report(study)


@pytest.fixture(scope="session")
def page(page_file):
    return page_file.read_text()
