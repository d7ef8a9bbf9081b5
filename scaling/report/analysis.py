"""The numbers behind the page: the fit, the seal, and the seal's score."""

import dataclasses

from scaling.errors import UserError
from scaling.laws import LawFits, Score, fit_all, read_seal, verify
from scaling.report.study_folder import StudyFolder
from scaling.results import RunRecord, runs_table


@dataclasses.dataclass(frozen=True)
class Analysis:
    """What is known. Where something is not, its `*_problem` says why in one line.

    sealed: the content of the seal; seal_problem: it is there but broken.
    changed: how the sweep's records differ from those that the sealed forecast was made of, in
        words; None if they are the same, or if nothing is sealed.
    """

    folder: StudyFolder
    fits: LawFits | None
    fit_problem: str | None
    sealed: dict | None
    seal_problem: str | None
    changed: str | None
    score: Score | None
    score_problem: str | None

    @property
    def target_ids(self) -> list[str]:
        return [t["run_id"] for t in self.sealed["targets"]] if self.sealed else []

    @property
    def target_records(self) -> list[RunRecord]:
        """Finished runs that the seal foretells, in its order; without a seal all targets."""
        if self.sealed is None:
            return self.folder.targets
        found = {record.run_id: record for record in self.folder.records}
        return [found[run_id] for run_id in self.target_ids if run_id in found]

    @property
    def level(self) -> float:
        return self.fits.level if self.fits else self.sealed["level"] if self.sealed else 0.9


def analyse(folder: StudyFolder) -> Analysis:
    """Fits the sweep's runs; under a seal, exactly those runs and settings that were sealed."""
    sealed, seal_problem = None, None
    if folder.seal_path.exists():
        try:
            sealed = read_seal(folder.seal_path)
        except UserError as problem:
            seal_problem = str(problem)
    fits, fit_problem = _fits(folder, sealed)
    score, score_problem = None, None
    if sealed is not None:
        try:
            score = verify(folder.seal_path, _target_table(folder, sealed))
        except UserError as problem:
            score_problem = str(problem)
    return Analysis(
        folder=folder,
        fits=fits,
        fit_problem=fit_problem,
        sealed=sealed,
        seal_problem=seal_problem,
        changed=_changed(folder, sealed, fits),
        score=score,
        score_problem=score_problem,
    )


def _fits(folder: StudyFolder, sealed: dict | None) -> tuple[LawFits | None, str | None]:
    records = folder.sweep
    if not records:
        return None, "no run has finished yet"
    if sealed is not None:
        fitted = set(sealed["fitted_run_ids"])
        records = [r for r in records if r.run_id in fitted or r.status != "ok"]
    table = runs_table(records, flops=folder.flops_convention)
    try:
        return fit_all(table, **_settings(sealed)), None
    except UserError as problem:
        return None, str(problem)


def _settings(sealed: dict | None) -> dict:
    """Those that the sealed fits were made with."""
    fits = (sealed or {}).get("fits") or {}
    settings = {name: fits[name] for name in ("level", "seed") if name in fits}
    laws = fits.get("laws", {})
    replicates = [law["bootstrap"]["replicates"] for law in laws.values()]
    if replicates:
        settings["bootstrap"] = replicates[0]
    if "chinchilla" in laws:
        settings["delta"] = laws["chinchilla"]["delta"]
    return settings


def _changed(folder: StudyFolder, sealed: dict | None, fits: LawFits | None) -> str | None:
    if sealed is None:
        return None
    usable = {r.run_id for r in folder.sweep if r.status == "ok"}
    fitted = set(sealed["fitted_run_ids"])
    gone = sorted(fitted - usable)
    if gone:
        return (f"{len(gone)} of the {len(fitted)} runs in the sealed fit have no usable record"
                f" any more (the first: {gone[0]})")
    if fits is not None and fits.runs.data_hash != sealed["data_hash"]:
        return "the records of the runs in the sealed fit have changed since it was made"
    return None


def _target_table(folder: StudyFolder, sealed: dict):
    ids = {target["run_id"] for target in sealed["targets"]}
    sized = None in ids  # sealed from a table: it foretells any run of its N and D
    records = [record for record in folder.records if sized or record.run_id in ids]
    if not records:
        missing = sealed["targets"][0]["run_id"] if sealed["targets"] else "(none)"
        raise UserError(f"its target {missing} has not finished yet")
    return runs_table(records, flops=folder.flops_convention)
