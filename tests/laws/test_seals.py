"""Seals: written once, never changed unnoticed, scored fairly."""

import json

import numpy as np
import pandas as pd
import pytest

from scaling.errors import UserError
from scaling.laws import fit_all, forecast, read_seal, seal, seal_payload, verify


@pytest.fixture(scope="module")
def payload(noisy):
    fits = fit_all(noisy, bootstrap=30)
    told = forecast(fits, flops=1.2e13)
    target = {"run_id": "big-1", "experiment": {"seed": 0}, "n_params": told.n_params,
              "n_tokens": told.n_tokens, "train_flops": told.flops, "prediction": told.to_json()}
    return seal_payload(fits, told, [target])


def outcome(payload, loss_offset=0.0, finished="2199-01-01T00:00:00+00:00", status="ok", **more):
    target = payload["targets"][0]
    row = {"run_id": "big-1", "status": status, "n_params": target["n_params"],
           "n_tokens": target["n_tokens"], "loss": target["prediction"]["loss"] + loss_offset,
           "finished_at": finished, **more}
    return pd.DataFrame([row])


def test_scores_error_and_coverage(tmp_path, payload):
    seal(tmp_path / "seal.json", payload)
    score = verify(tmp_path / "seal.json", outcome(payload, 0.003)).targets[0]
    assert score.error_nats == pytest.approx(0.003)
    assert score.error_percent == pytest.approx(100 * 0.003 / score.actual)
    assert score.inside_interval
    low, high = score.predictive_interval
    assert not verify(
        tmp_path / "seal.json", outcome(payload, 2 * (high - low))
    ).targets[0].inside_interval


def leaves(value, path=()):
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list) and value:
        for i, item in enumerate(value):
            yield from leaves(item, (*path, i))
    else:
        yield path


def test_changing_any_field_breaks_the_seal(tmp_path, payload):
    path = tmp_path / "seal.json"
    original = seal(path, payload)
    rng = np.random.default_rng(0)
    places = list(leaves(original))
    for i in [*range(0, 12), *rng.choice(len(places), 150, replace=False)]:
        changed = json.loads(json.dumps(original))
        *way, last = places[i]
        spot = changed
        for step in way:
            spot = spot[step]
        value = spot[last]
        spot[last] = value + 1e-9 if isinstance(value, float) else f"{value}x"
        if spot[last] == value:
            spot[last] = value * 1.001 + 1
        path.write_text(json.dumps(changed))
        with pytest.raises(UserError, match="seal is broken"):
            verify(path, outcome(payload))


def test_added_removed_and_repeated_fields_break_the_seal(tmp_path, payload):
    path = tmp_path / "seal.json"
    original = seal(path, payload)
    text = path.read_text()
    path.write_text(json.dumps({**original, "note": "mine"}))
    with pytest.raises(UserError, match="broken"):
        read_seal(path)
    path.write_text(json.dumps({k: v for k, v in original.items() if k != "data_hash"}))
    with pytest.raises(UserError, match="broken"):
        read_seal(path)
    path.write_text('{"level": 0.5,' + text.lstrip()[1:])
    with pytest.raises(UserError, match="damaged"):
        read_seal(path)
    path.write_text(text[: len(text) // 2])
    with pytest.raises(UserError, match="not a sealed forecast"):
        read_seal(path)


def test_sealing_again_keeps_the_first_and_a_different_one_is_refused(tmp_path, payload):
    path = tmp_path / "seal.json"
    seal(path, payload)
    before = path.read_text()
    assert seal(path, payload)["created_at"] in before
    assert path.read_text() == before
    with pytest.raises(UserError, match="never overwritten"):
        seal(path, {**payload, "level": 0.8})
    assert path.read_text() == before


def test_a_run_of_the_fit_is_no_target(tmp_path, payload):
    target = {**payload["targets"][0], "run_id": payload["fitted_run_ids"][0]}
    with pytest.raises(UserError, match="was in the fit"):
        seal(tmp_path / "seal.json", {**payload, "targets": [target]})


def test_a_run_that_finished_before_the_seal_is_refused(tmp_path, payload):
    seal(tmp_path / "seal.json", payload)
    for early in ("2020-01-01T00:00:00+00:00", "2020-01-01T00:00:00"):
        with pytest.raises(UserError, match="before the seal"):
            verify(tmp_path / "seal.json", outcome(payload, finished=early))


def test_a_missing_run_is_named(tmp_path, payload):
    seal(tmp_path / "seal.json", payload)
    with pytest.raises(UserError, match="big-1 has no record yet; run it"):
        verify(tmp_path / "seal.json", outcome(payload, run_id="other"))


def test_a_diverged_target_is_a_failed_forecast(tmp_path, payload):
    seal(tmp_path / "seal.json", payload)
    score = verify(tmp_path / "seal.json", outcome(payload, np.nan, status="diverged"))
    assert score.failed == ("big-1",)
    assert score.inside == 0


def test_another_run_under_the_same_id_is_refused(tmp_path, payload):
    seal(tmp_path / "seal.json", payload)
    tokens = 2 * payload["targets"][0]["n_tokens"]
    with pytest.raises(UserError, match="not the run foretold"):
        verify(tmp_path / "seal.json", outcome(payload, n_tokens=tokens))


def test_what_json_cannot_hold_is_refused(tmp_path, payload):
    for value in (float("nan"), {1, 2}):
        with pytest.raises(UserError, match="plain finite JSON"):
            seal(tmp_path / "seal.json", {**payload, "note": value})
    assert not (tmp_path / "seal.json").exists()


@pytest.fixture(scope="module")
def sized(noisy):
    """Sealed from a table: any run of the forecast's N and D."""
    fits = fit_all(noisy, bootstrap=30)
    told = forecast(fits, flops=1.2e13)
    target = {"run_id": None, "n_params": told.n_params, "n_tokens": told.n_tokens,
              "train_flops": told.flops, "prediction": told.to_json(), "fitted_losses": [2.5]}
    return seal_payload(fits, told, [target])


def test_a_seal_of_a_table_scores_every_run_of_its_size(tmp_path, sized):
    seal(tmp_path / "seal.json", sized)
    target = sized["targets"][0]
    loss = target["prediction"]["loss"]
    runs = pd.DataFrame({"n_params": target["n_params"] * np.array([1.004, 0.997, 2, 1]),
                         "n_tokens": target["n_tokens"] * np.array([1.0, 1.003, 1, 1.02]),
                         "loss": [loss, loss + 0.01, 9.9, 9.9]})
    score = verify(tmp_path / "seal.json", runs)
    assert [t.run_id for t in score.targets] == ["row 1", "row 2"]
    assert [t.error_nats for t in score.targets] == pytest.approx([0, 0.01], abs=1e-9)


def test_a_seal_of_a_table_refuses_runs_of_the_fit_by_name_and_by_loss(tmp_path, sized):
    seal(tmp_path / "seal.json", sized)
    target = sized["targets"][0]
    row = {"n_params": target["n_params"], "n_tokens": target["n_tokens"]}
    with pytest.raises(UserError, match="row 1, .* was in the fit"):
        verify(tmp_path / "seal.json", pd.DataFrame([{**row, "loss": 2.5}]))
    named = {**row, "loss": 2.6, "run_id": sized["fitted_run_ids"][0]}
    with pytest.raises(UserError, match=f"{named['run_id']} was in the fit"):
        verify(tmp_path / "seal.json", pd.DataFrame([named]))


def test_a_seal_of_a_table_names_the_nearest_run_where_none_is_foretold(tmp_path, sized):
    seal(tmp_path / "seal.json", sized)
    target = sized["targets"][0]
    runs = pd.DataFrame({"run_id": ["far", "near"], "n_params": target["n_params"] * np.array([3, 1.1]),
                         "n_tokens": [target["n_tokens"]] * 2, "loss": [2.0, 2.0]})
    with pytest.raises(UserError, match="none of the 2 rows is within 1% of both .nearest: near"):
        verify(tmp_path / "seal.json", runs)
    with pytest.raises(UserError, match="no column n_tokens"):
        verify(tmp_path / "seal.json", runs.drop(columns="n_tokens"))
