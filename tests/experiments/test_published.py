"""Refits of published runs, against refits that were made independently and against what was published.

`published.json`, beside the runs, holds the independent refits (`ours` there): other code, other
optimisers. Nothing here is compared with our own earlier output.
"""

import json
import os
import pathlib
import sys

import numpy as np
import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "experiments" / "published"))

import chinchilla  # noqa: E402
import comparison  # noqa: E402
import embeddings  # noqa: E402
import gemstones  # noqa: E402
import isoflops  # noqa: E402
import kyo_takano  # noqa: E402
import misfitting  # noqa: E402
import muennighoff  # noqa: E402
import pandas as pd  # noqa: E402
import porian  # noqa: E402
import refit as command  # noqa: E402
import steplaw  # noqa: E402
from comparison import LOWER, REPLICATES, compare  # noqa: E402
from refits import Published, columns_of, refit  # noqa: E402

from scaling.laws.forms.chinchilla import CHINCHILLA  # noqa: E402

FOLDER = pathlib.Path(os.environ.get("SCALING_PUBLISHED_DATA",
                                     REPOSITORY.parent / "shared" / "published"))
with_data = pytest.mark.skipif(not (FOLDER / "published.json").is_file(),
                               reason="no published runs; set SCALING_PUBLISHED_DATA")
NEVER_HIGHER = 1 + 1e-9


@pytest.fixture(scope="module")
def published():
    return Published(FOLDER, replicates=0)


@pytest.fixture(scope="module")
def independent():
    return json.loads((FOLDER / "published.json").read_text())


@pytest.fixture(scope="module")
def epoch(published):
    runs = published.read(chinchilla.FILE)
    return runs[~runs.dropped_by_epoch]


def of_chinchilla(runs, **options):
    return refit(CHINCHILLA, columns_of(runs, *chinchilla.ND), runs.loss.to_numpy(), **options)


def assert_params(law, expected, rel):
    for name in law.point.form.names:
        assert law.params[name] == pytest.approx(expected[name], rel=rel), name


@with_data
class TestChinchilla:
    def test_huber_reaches_the_certified_optimum_from_every_start(self, epoch, independent):
        expected = independent["epoch_chinchilla"]["huber_1e3_global"]
        law = of_chinchilla(epoch)
        assert law.point.objective == pytest.approx(expected["objective_sum"], rel=1e-9)
        assert law.point.objective <= expected["objective_sum"] * (1 + 1e-11)  # 12 digits are given
        assert_params(law, expected, rel=1e-6)
        assert law.point.receipt.starts_at_optimum == 1.0

    def test_the_quoted_values_belong_to_absolute_errors(self, epoch, independent):
        assert_params(of_chinchilla(epoch, delta=1e-6, starts=16),
                      independent["epoch_chinchilla"]["lad_check"], rel=1e-5)
        quoted = independent["epoch_chinchilla"]["notebook_cell25_headline"]
        assert_params(of_chinchilla(epoch, delta=chinchilla.HEADLINE_DELTA, starts=16), quoted, rel=1e-5)

    def test_squares_and_all_245_points(self, epoch, published, independent):
        expected = independent["epoch_chinchilla"]
        assert_params(of_chinchilla(epoch, objective="log_squares"), expected["squared_log"], rel=1e-5)
        assert_params(of_chinchilla(published.read(chinchilla.FILE)), expected["all245_huber"], rel=1e-5)

    def test_the_notebooks_resampling_and_its_deviations(self, epoch, independent):
        expected = independent["epoch_chinchilla"]["bootstrap"]
        law = of_chinchilla(epoch)
        resamples = chinchilla.notebook_resamples(len(epoch), 600)
        theta, good = law.point.refit(np.log(epoch.loss.to_numpy())[None], resamples)
        values = CHINCHILLA.values(theta)
        assert good.all()
        order = [CHINCHILLA.names.index(name) for name in chinchilla.PARAMETERS]
        assert values[0, order] == pytest.approx(expected["boot0_ours"], rel=1e-6)
        # A standard deviation from 600 of the 4,000 is known to 3%, and B's tail is heavy.
        for name in ("E", "alpha", "beta"):
            found = values[:, CHINCHILLA.names.index(name)].std()
            assert found == pytest.approx(expected["notebook_se"][name], rel=0.1)


@with_data
def test_kyo_and_takanos_floor_replicates(published):
    rows = kyo_takano.comparisons(published)
    assert [row.verdict for row in rows] == [REPLICATES] * 5
    assert all(row.excess >= 0 for row in rows)


@with_data
def test_pearce_and_songs_coefficient_belongs_to_a_free_exponent(published):
    """52960 stands in a comment of their script."""
    rows = {(row.fit, row.quantity): row for row in embeddings.comparisons(published)}
    assert rows["N_T = N + w N^p", "w"].ours == pytest.approx(47491, abs=1)
    third = rows["N_T = N + w N^(1/3)", "w"]
    assert third.ours == pytest.approx(52960, abs=1) and third.verdict == comparison.DIFFERS


def test_without_embeddings_a_law_keeps_its_exponent():
    """With w = 0 both counts agree, so N* ~ C^(beta / (alpha + beta)) in closed form."""
    law = embeddings.EPOCH
    expected = law["beta"] / (law["alpha"] + law["beta"])
    assert embeddings.local_exponent(law, 0.0) == pytest.approx(expected, rel=1e-6)


@with_data
def test_all_of_porians_exponents_replicate(published, independent):
    stored = {tuple(e[key] for key in porian.SETTING): e["n_exponent"]
              for e in independent["porian"]["exponents"]}
    rows = [r for r in porian.comparisons(published) if "their optima" in r.quantity]
    assert len(rows) == 15
    for row in rows:
        assert row.ours == pytest.approx(stored[tuple(row.fit.split())], abs=1e-10)


@with_data
def test_step_law_is_another_law_on_the_released_runs(published, independent):
    expected = independent["steplaw"]["refit_on_released_rows"]
    names = {"alpha": "lr_N", "beta": "lr_D", "gamma": "bs_D", "d": "bs_coef"}
    rows = {row.quantity: row for row in steplaw.comparisons(published)}
    for name, theirs in names.items():
        assert rows[name].ours == pytest.approx(expected[theirs], abs=6e-5)  # given to 4 decimals
        assert rows[name].verdict == comparison.DIFFERS  # without an interval to lie in


@with_data
def test_raw_huber_fits_are_at_or_below_every_other(published, independent):
    """Names differ: vpnls calls Marin's experiments by their corpus."""
    table = independent["vpnls_raw_huber"]["mean_huber_1e6"]
    every = published.read(isoflops.FILE)
    for name, values in table.items():
        experiment = next(e for e in isoflops.VPNLS if name.removeprefix("marin_") in e)
        runs = every[every.experiment == experiment]
        law = isoflops.approach_3(runs, objective="huber_raw", starts=32)
        mean = 1e6 * law.point.objective / len(runs)
        assert mean == pytest.approx(values["ours"], abs=6e-7)  # given to 6 decimals
        assert mean < values["vpnls"]


@with_data
def test_misfittings_stored_fits_replicate_and_no_start_matters(published):
    final = published.read(misfitting.FINAL)
    law = refit(CHINCHILLA, columns_of(final, *misfitting.ND), final.loss.to_numpy())
    assert law.point.objective <= float(misfitting.STORED_OBJECTIVE) * NEVER_HIGHER
    for name, value in misfitting.STORED.items():
        assert law.params[name] == pytest.approx(float(value), rel=1e-3)
    assert law.point.receipt.starts_at_optimum == 1.0


def stored_fits(*, fast: bool):
    table = pd.read_csv(gemstones.STORED)
    small = table.table.str.contains("sampled|slim")
    return [pytest.param(row, id=f"{row.table}-{row.delta:g}-{row.form.replace(' ', '-')}-{row.embeddings}")
            for row in table[small == fast].itertuples()]


def check_stored(stored, published, independent):
    """At or below the stored objective and the independent refit's; if they tie, the same exponents."""
    frame = gemstones.table(published, stored.table)
    law = gemstones.refit_stored(stored, frame)
    assert law.point.objective <= stored.objective * (1 + 1e-4)  # stored to 1e-10, some are 1e-5
    kinds = {"N D": "p", "width depth D": "wd", "width depth N D": "wdp"}
    same = [
        e for e in independent["gemstones"]
        if (e["csv"], float(e["delta"]), e["no_embeds"], e["kind"])
        == (f"gemstones_{stored.table}.csv", stored.delta, not stored.embeddings, kinds[stored.form])
    ]
    if not same:
        assert stored.table == gemstones.SLIM
        return law
    expected = same[0]
    assert law.point.objective <= expected["F_ours"] * NEVER_HIGHER
    if law.point.objective > expected["F_ours"] * (1 - 1e-6):
        exponents = [law.params[name] for name in gemstones.FORMS[stored.form][2]]
        assert exponents == pytest.approx(expected["exp_ours"], rel=2e-3)
    return law


@with_data
@pytest.mark.parametrize("stored", stored_fits(fast=True))
def test_gemstones_stored_fits(stored, published, independent):
    law = check_stored(stored, published, independent)
    if stored.table == gemstones.SLIM and stored.delta == 1e-4:
        assert float(stored.exponents.split()[0]) == pytest.approx(0.276, abs=5e-4)
        assert law.params["alpha"] == pytest.approx(0.201, abs=5e-4)


@with_data
@pytest.mark.slow
@pytest.mark.parametrize("stored", stored_fits(fast=False))
def test_all_of_gemstones_stored_fits(stored, published, independent):
    check_stored(stored, published, independent)


@with_data
def test_muennighoffs_constants_are_a_local_minimum(published, independent):
    expected = independent["muennighoff"]
    rows = {(row.fit, row.quantity): row for row in muennighoff.comparisons(published)}
    best = max(expected["local_minima"], key=lambda m: m.get("best", False))
    for name, theirs in (("R_D*", "RD"), ("R_N*", "RN")):
        found = rows["Huber 1e-3 of logs, 182 runs", name]
        assert found.ours == pytest.approx(best[theirs], rel=1e-5) and found.verdict == LOWER
        beside = rows["the minimum beside the stored values", name]
        assert beside.ours == pytest.approx(expected["local_minima"][0][theirs], rel=1e-5)


@with_data
@pytest.mark.slow
def test_routing_and_the_broken_law(published, independent):
    import broken
    import routing

    ours = {(row.fit.split(",")[0], row.quantity): row.ours for row in routing.comparisons(published)}
    for router, expected in independent["routing"]["ours"].items():
        for name in routing.NAMES:
            assert ours[router, name] == pytest.approx(expected[name], rel=2e-3, abs=6e-5)
    rows = {(row.fit, row.quantity): row.ours for row in broken.comparisons(published)}
    expected = independent["bnsl"]["ours"]
    for name in ("a", "b", "c0", "c1", "d1", "f1"):
        assert rows["14 points", name] == pytest.approx(expected[name], rel=1e-4)
    assert rows["fitted points", "rms log error"] == pytest.approx(expected["rmsle_train"], rel=1e-3)
    assert rows["3 points beyond", "rms log error"] == pytest.approx(expected["rmsle_extrap"], rel=1e-3)


def test_frozen_results_hold_every_data_set_and_known_verdicts():
    frozen = pd.read_csv(REPOSITORY / "experiments" / "published" / "results.csv")
    assert set(frozen.data) == set(command.SOURCES)
    assert set(frozen.verdict) <= set(comparison.VERDICTS)
    reasoned = frozen.verdict.isin([comparison.LOWER, comparison.CONVENTION, comparison.DIFFERS])
    assert frozen[reasoned].why.notna().all()


class TestVerdicts:
    def of(self, published, ours, **options):
        return compare("d", "f", "q", published, ours, **options).verdict

    def test_printed_digits_count(self):
        assert self.of("0.34", 0.3449) == REPLICATES
        assert self.of("0.34", 0.3451) == comparison.DIFFERS
        assert self.of("0.3400", 0.3449) == comparison.DIFFERS
        assert self.of("1e3", 1000.9) == REPLICATES  # 0.1%, no decimals

    def test_order_of_reasons(self):
        assert self.of(1.0, 2.0, excess=0.1, interval=(0, 3)) == LOWER
        assert self.of(1.0, 2.0, excess=-0.1, interval=(0, 3)) == comparison.WITHIN
        assert self.of(1.0, 2.0, interval=(1.5, 3)) == comparison.DIFFERS
        assert self.of(1.0, 2.0, excess=0.1, otherwise=comparison.CONVENTION) == comparison.CONVENTION
        assert self.of(None, 2.0) == comparison.OURS_ONLY
        assert self.of(1.0, None) == comparison.REFUSED


class TestCommand:
    def fails(self, capsys, *arguments):
        status = command.main(list(arguments))
        error = capsys.readouterr().err.strip()
        assert status == 2 and "\n" not in error and error.startswith("refit.py: ")
        return error

    def test_no_folder_named(self, capsys, monkeypatch):
        monkeypatch.delenv(command.VARIABLE, raising=False)
        assert "--data FOLDER" in self.fails(capsys)

    def test_missing_folder(self, capsys, tmp_path):
        assert "no folder" in self.fails(capsys, "--data", str(tmp_path / "nowhere"))

    def test_unknown_data_set(self, capsys, tmp_path):
        error = self.fails(capsys, "--data", str(tmp_path), "--only", "steplow")
        assert "'steplow'" in error and "steplaw" in error

    def test_missing_tables_are_skipped_and_named(self, capsys, tmp_path):
        status = command.main(["--data", str(tmp_path), "--only", "steplaw"])
        error = capsys.readouterr().err
        assert status == 2 and "steplaw: skipped: no steplaw_dense.csv" in error

    @with_data
    def test_json_has_what_the_table_shows(self, capsys):
        options = ["--data", str(FOLDER), "--only", "steplaw", "--json", "--bootstrap", "20"]
        assert command.main(options) == 0
        rows = json.loads(capsys.readouterr().out)["rows"]
        assert len(rows) == 5
        for row in rows:
            assert row["difference"] == row["ours"] - row["published"]
            assert row["interval"][0] < row["interval"][1]
