"""The page says what the folder holds, in every state a folder can be in."""

import dataclasses
import html
import html.parser
import json
import re
import shutil

import pytest

from scaling.errors import UserError
from scaling.laws import read_seal
from scaling.report import write_report
from scaling.results import write_record

SECTIONS = ("loss", "forecast", "allocation", "parametric", "runs", "provenance")


def text_of(page):
    """What a reader sees, without markup, style and script."""
    page = re.sub(r"<(style|script|title)\b.*?</\1>", " ", page, flags=re.S)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", "", page)))


class Elements(html.parser.HTMLParser):
    """Every start tag with its attributes."""

    def __init__(self, page):
        super().__init__()
        self.found, self.open = [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_all_sections_of_a_finished_study(page):
    found = [attributes.get("id") for tag, attributes in Elements(page).found if tag == "section"]
    assert found == list(SECTIONS)


def test_markup_is_balanced_and_ids_are_unique(page):
    elements = Elements(page)
    assert elements.open == []
    ids = [a["id"] for _, a in elements.found if "id" in a]
    assert len(set(ids)) == len(ids)
    inner = {a["href"][1:] for _, a in elements.found if a.get("href", "").startswith("#")}
    inner |= {a["xlink:href"][1:] for _, a in elements.found if "xlink:href" in a}
    inner |= set(re.findall(r"url\(#([^)]+)\)", page))
    assert inner <= set(ids)


def test_loads_nothing_from_anywhere(page):
    for tag, attributes in Elements(page).found:
        assert "src" not in attributes
        if tag not in ("a", "use"):
            assert not {"href", "xlink:href"} & set(attributes) or attributes["href"] == "data:,"
        assert not any(name.startswith("on") for name in attributes)
    assert "@import" not in page and "@font-face" not in page
    assert not re.search(r"url\((?!#)", page)


def test_same_folder_gives_same_bytes(study, page_file, tmp_path):
    again = write_report(study, tmp_path / "elsewhere.html")
    assert again.read_bytes() == page_file.read_bytes()


def test_is_small(page_file):
    assert page_file.stat().st_size < 500_000


def test_colours_of_plots_follow_the_scheme(page):
    figures = re.findall(r"<svg.*?</svg>", page, flags=re.S)
    assert len(figures) >= 7
    for figure in figures:
        assert not re.search(r"#[0-9a-f]{6}\b", figure)
        assert "var(--ink)" in figure
    declared = re.findall(r"(--[a-z0-9-]+):", page)
    assert set(re.findall(r"var\((--[a-z0-9-]+)\)", page)) <= {*declared, "--c"}


def test_verdict_and_score_are_those_of_the_seal(synthetic, page, study):
    sealed = read_seal(study / "forecast.json")
    told = sealed["targets"][0]["prediction"]
    actual = synthetic.the_target().final.loss
    text = text_of(page)
    assert f"Forecast {told['loss']:.3f} nats per token" in text
    assert f"measured {actual:.3f}" in text
    low, high = told["predictive_interval"]
    assert (" inside the 90% interval" in text) == (low <= actual <= high)
    error = 100 * (actual - told["loss"]) / actual
    assert f"{abs(error):.2f}% {'above' if error > 0 else 'below'} it" in text
    assert sealed["sha256"] in text and sealed["created_at"] in text
    assert "the sealed one, reproduced" in text


def test_every_run_is_in_the_table_and_what_was_left_out_has_its_reason(page, study):
    for folder in (study / "runs").iterdir():
        assert folder.name in page
    assert "diverged, non-finite loss at step 40" in text_of(page)


def test_hostile_text_is_harmless(synthetic, tmp_path):
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&"
    runs = synthetic.sweep()
    runs[0] = dataclasses.replace(runs[0], run_id=f"{evil}-1", device=evil, commit=evil,
                                  versions={evil: evil}, data={"corpus": evil},
                                  tags={**runs[0].tags, "d_model": evil, "budget": evil})
    runs[1] = dataclasses.replace(runs[1], status="failed", reason=evil, final=None)
    root = tmp_path / "evil"
    synthetic.write_folder(root, runs[2:])
    for i in (0, 1):
        write_record(root / "runs" / f"evil-{i}", runs[i])
    study = json.loads((root / "study.json").read_text())
    (root / "study.json").write_text(json.dumps({**study, "name": evil}))
    page = write_report(root).read_text()
    tags = [tag for tag, _ in Elements(page).found]
    assert tags.count("script") == 1 and "img" not in tags
    assert evil in html.unescape(page)


def test_nothing_finished_yet(synthetic, tmp_path):
    synthetic.write_folder(tmp_path / "new", [], planned=["a-1", "b-2"])
    text = text_of(write_report(tmp_path / "new").read_text())
    assert "no run has finished yet (0 of 2 planned runs finished)" in text


def test_too_few_runs_to_fit(synthetic, tmp_path):
    synthetic.write_folder(tmp_path / "few", synthetic.sweep()[:3], planned=["later-1"])
    page = write_report(tmp_path / "few").read_text()
    assert "No law yet: " in text_of(page)
    assert "study-sweep-d24-C3e11" in page
    assert "1 of 4 planned runs have not finished" in text_of(page)


def test_only_a_diverged_run(synthetic, tmp_path):
    lost = dataclasses.replace(synthetic.record(24, 3e11), status="diverged",
                               reason="non-finite loss", final=None, best=None, evaluations=[], curve=[])
    synthetic.write_folder(tmp_path / "lost", [lost])
    assert "No law yet" in text_of(write_report(tmp_path / "lost").read_text())


def test_sealed_but_not_yet_tested(synthetic, study, tmp_path):
    root = shutil.copytree(study, tmp_path / "waiting")
    shutil.rmtree(root / "runs" / synthetic.the_target().run_id)
    text = text_of(write_report(root).read_text())
    assert "not tested yet: its target study-target-d160" in text


def test_target_that_diverged_is_a_failed_forecast(synthetic, study, tmp_path):
    root = shutil.copytree(study, tmp_path / "broke")
    path = root / "runs" / synthetic.the_target().run_id / "record.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "status": "diverged",
                                "final": None, "best": None}))
    assert "ended as diverged, so the forecast failed" in text_of(write_report(root).read_text())


def test_records_changed_since_the_seal_are_announced(study, tmp_path):
    root = shutil.copytree(study, tmp_path / "changed")
    path = next(p for p in sorted(root.glob("runs/*sweep*/record.json"))
                if json.loads(p.read_text())["status"] == "ok")
    changed = json.loads(path.read_text())
    changed["final"]["loss"] += 0.01
    path.write_text(json.dumps(changed))
    assert "does not show the fit that was sealed" in text_of(write_report(root).read_text())
    shutil.rmtree(path.parent)
    assert "have no usable record any more" in text_of(write_report(root).read_text())


def test_runs_finished_after_the_seal_do_not_change_the_fit(synthetic, study, tmp_path):
    root = shutil.copytree(study, tmp_path / "more")
    late = synthetic.record(128, 1.2e12)
    write_record(root / "runs" / late.run_id, late)
    text = text_of(write_report(root).read_text())
    assert "the sealed one, reproduced" in text
    assert "finished, not among the sealed runs" in text


def test_a_broken_seal_is_announced(study, tmp_path):
    root = shutil.copytree(study, tmp_path / "tampered")
    sealed = json.loads((root / "forecast.json").read_text())
    sealed["targets"][0]["prediction"]["loss"] -= 0.01
    (root / "forecast.json").write_text(json.dumps(sealed))
    text = text_of(write_report(root).read_text())
    assert "cannot be trusted" in text and "inside the 90% interval" not in text


def test_a_target_that_finished_before_the_seal_is_no_test(synthetic, tmp_path):
    root = tmp_path / "early"
    synthetic.write_folder(root, synthetic.sweep())
    synthetic.seal_forecast(root, synthetic.the_target())
    early = dataclasses.replace(synthetic.the_target(), finished_at="2020-01-01T00:00:00+00:00")
    write_record(root / "runs" / early.run_id, early)
    assert "before the seal was made" in text_of(write_report(root).read_text())


@pytest.mark.parametrize("make", [lambda p: None, lambda p: p.mkdir(),
                                  lambda p: p.write_text("a file")])
def test_a_folder_without_a_sweep_is_refused(tmp_path, make):
    make(tmp_path / "none")
    with pytest.raises(UserError, match="no sweep here"):
        write_report(tmp_path / "none")


@pytest.mark.parametrize("name", ["study.json", "plan.jsonl"])
def test_damaged_files_are_named(synthetic, tmp_path, name):
    synthetic.write_folder(tmp_path / "bad", [])
    (tmp_path / "bad" / name).write_text("{")
    with pytest.raises(UserError, match=name):
        write_report(tmp_path / "bad")
