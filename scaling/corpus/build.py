"""A folder of files to a TFDS dataset, in parallel; killed at any moment and started again, the same bytes.

Each stage leaves files that are whole or absent under `<data_dir>/.<name>.build`, and skips those that are
there; the dataset takes its place, `<data_dir>/<name>/1.0.0`, by a rename at the end.
"""

import concurrent.futures
import fcntl
import hashlib
import json
import multiprocessing
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scaling.corpus.config import BuildConfig
from scaling.corpus.contamination import union
from scaling.corpus.inputs import input_files
from scaling.corpus.near_duplicates import exact_duplicates, near_duplicates
from scaling.corpus.parts import (
    FlagTask,
    PartTask,
    Skipped,
    build_part,
    flag_contaminated,
    replacing,
    texts_of,
)
from scaling.corpus.shards import (
    VERSION,
    Chosen,
    ShardTask,
    shard_path,
    shards_of,
    write_metadata,
    write_shard,
)
from scaling.errors import UserError
from scaling.results.files import writing

FORMAT = 1  # raise it when the same build would give other bytes

Progress = Callable[[str, int, int], None]  # stage, done, of


def build_corpus(
    config: BuildConfig, data_dir: str | Path, n_workers: int = 1, progress: Progress = lambda *told: None
) -> dict[str, Any]:
    """Builds the dataset and returns its report, also kept as `report.json` in the dataset's folder.

    A dataset that is there already is left as it is if it was built of the same, and its report returned.

    Raises:
      UserError: inputs that are not there, more unreadable documents than `max_bad`, a split that came
        out empty, a package that is missing, or a folder that holds another build.
    """
    data_dir = Path(data_dir)
    files = [(path, True) for path in input_files(config.validation_inputs)]
    known = {path for path, _ in files}
    files += [(path, False) for path in input_files(config.inputs) if path not in known]
    _check_packages(config, [path for path, _ in files])
    plan = {"format": FORMAT, "config": config.to_json(),
            "files": [[p.as_posix(), p.stat().st_size, p.stat().st_mtime_ns, v] for p, v in files]}
    final = data_dir / config.name / VERSION
    work = data_dir / f".{config.name}.build"
    with writing(final):
        data_dir.mkdir(parents=True, exist_ok=True)
        with (data_dir / f".{config.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if final.exists():
                return _built_before(final, plan)
            _begin(work, plan)
            report = _Build(config, work, files, n_workers, progress).finish(plan)
            final.parent.mkdir(parents=True, exist_ok=True)
            (work / "dataset").rename(final)
            shutil.rmtree(work)
    return report


class _Build:
    def __init__(
        self, config: BuildConfig, work: Path, files: Sequence[tuple[Path, bool]], n_workers: int,
        progress: Progress,
    ) -> None:
        self.config, self.work, self.files = config, work, files
        self.n_workers, self.progress = n_workers, progress
        self.parts = work / "parts"

    def finish(self, plan: dict[str, Any]) -> dict[str, Any]:
        summaries = self._read()
        bad, dropped = Skipped(), Skipped()
        for summary in summaries:
            bad.merge(summary["bad"])
            dropped.merge(summary["filtered"])
        n_read = sum(summary["read"] for summary in summaries)
        self._check_bad(n_read, bad)
        chosen = self._choose(summaries, dropped)
        if self.config.decontaminate is not None:
            self._decontaminate(chosen, dropped)
        for split, documents in chosen.items():
            if not any(indices for _, indices in documents):
                raise UserError(
                    f"{self.config.name}: no document is left for the {split} split, of {n_read} read"
                    f" ({_told(bad.reasons | dropped.reasons) or 'nothing skipped'}); nothing was built"
                )
        return self._write(plan, summaries, chosen, n_read, bad, dropped)

    def _read(self) -> list[dict[str, Any]]:
        self.parts.mkdir(exist_ok=True)
        config = self.config
        tasks = [
            PartTask(i, str(path), path.as_posix(), validation, config.text_field, config.filters,
                     config.near is not None, str(self.parts))
            for i, (path, validation) in enumerate(self.files)
        ]
        self._each("reading", build_part, tasks)
        return [json.loads((self.parts / f"{i:05d}.json").read_text()) for i in range(len(tasks))]

    def _check_bad(self, n_read: int, bad: Skipped) -> None:
        n_bad = sum(entry["count"] for entry in bad.reasons.values())
        if n_bad > self.config.max_bad * n_read:
            raise UserError(
                f"{n_bad} of {n_read} documents cannot be read ({_told(bad.reasons)}), more than"
                f" {self.config.max_bad:.3g} of them: repair them, or allow more with --max-bad"
            )

    def _choose(self, summaries: list[dict[str, Any]], dropped: Skipped) -> dict[str, Chosen]:
        """Documents of each split, duplicates dropped; one process, in the order of the inputs."""
        kept = [(part, i) for part, s in enumerate(summaries) for i in range(len(s["digests"]))]
        if self.config.exact:
            copies = exact_duplicates(summaries[part]["digests"][i] for part, i in kept)
            kept = self._drop(kept, copies, "exact duplicate", dropped)
        if self.config.near is not None:
            signatures = [np.load(self.parts / f"{part:05d}.npy") for part in range(len(summaries))]
            alike = near_duplicates((signatures[part][i] for part, i in kept), self.config.near)
            kept = self._drop(kept, alike, "near duplicate", dropped)
        splits: dict[str, dict[int, list[int]]] = {"train": {}}
        if self.config.validation_inputs or self.config.validation_fraction:
            splits["validation"] = {}
        for part, i in kept:
            held_out = summaries[part]["validation"] or self._drawn(summaries[part]["digests"][i])
            splits["validation" if held_out else "train"].setdefault(part, []).append(i)
        return {split: list(parts.items()) for split, parts in splits.items()}

    def _drawn(self, digest: str) -> bool:
        lot = hashlib.sha256(f"validation:{digest}".encode()).digest()
        return int.from_bytes(lot[:8], "big") < self.config.validation_fraction * 2**64

    def _drop(self, documents: list, flags, reason: str, dropped: Skipped) -> list:
        kept = []
        for i, (document, flag) in enumerate(zip(documents, flags)):
            if flag:
                dropped.add(reason, f"{self.files[document[0]][0].as_posix()}#{document[1]}")
            else:
                kept.append(document)
            if i % 1000 == 0:
                self.progress(f"{reason}s", i, len(documents))
        return kept

    def _decontaminate(self, chosen: dict[str, Chosen], dropped: Skipped) -> None:
        n, flags = self.config.decontaminate, self.work / "contaminated"
        held_out = self.work / "held_out.npy"
        if not held_out.exists():
            texts = (text for part, indices in chosen["validation"]
                     for _, text in texts_of(self.parts, part, indices))
            found = union(texts, n)
            with replacing(held_out) as file:
                np.save(file, found)
        flags.mkdir(exist_ok=True)
        tasks = [FlagTask(part, indices, n, str(held_out), str(self.parts), str(flags))
                 for part, indices in chosen["train"]]
        self._each("decontaminating", flag_contaminated, tasks)
        for place, (part, indices) in enumerate(chosen["train"]):
            shared = set(json.loads((flags / f"{part:05d}.json").read_text()))
            for i in sorted(shared):
                dropped.add(f"shares {n} words in a row with validation",
                            f"{self.files[part][0].as_posix()}#{i}")
            chosen["train"][place] = (part, [i for i in indices if i not in shared])

    def _write(
        self, plan: dict[str, Any], summaries: list[dict[str, Any]], chosen: dict[str, Chosen], n_read: int,
        bad: Skipped, dropped: Skipped,
    ) -> dict[str, Any]:
        folder, name = self.work / "dataset", self.config.name
        folder.mkdir(exist_ok=True)
        sizes = {
            split: sum(summaries[part]["sizes"][i] for part, indices in documents for i in indices)
            for split, documents in chosen.items()
        }
        shards = {
            split: shards_of(documents, max(1, -(-sizes[split] // self.config.shard_bytes)))
            for split, documents in chosen.items()
        }
        tasks = [
            ShardTask(i, str(shard_path(folder, name, split, i, len(of_split))), shard, str(self.parts))
            for split, of_split in shards.items() for i, shard in enumerate(of_split)
        ]
        self._each("writing", write_shard, tasks)
        write_metadata(folder, name, shards, sizes)
        report = {
            "name": name,
            "read": n_read,
            "kept": {s: sum(len(i) for _, i in documents) for s, documents in chosen.items()},
            "bytes": sizes,
            "unreadable": bad.reasons,
            "dropped": dropped.reasons,
            "plan": plan,
        }
        with replacing(folder / "report.json") as file:
            file.write(json.dumps(report, indent=1).encode() + b"\n")
        return report

    def _each(self, stage: str, do: Callable[[Any], int], tasks: Sequence[Any]) -> None:
        self.progress(stage, 0, len(tasks))
        if self.n_workers == 1:
            for done, task in enumerate(tasks, 1):
                do(task)
                self.progress(stage, done, len(tasks))
            return
        spawned = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(self.n_workers, mp_context=spawned) as pool:
            futures = [pool.submit(do, task) for task in tasks]
            for done, future in enumerate(concurrent.futures.as_completed(futures), 1):
                future.result()
                self.progress(stage, done, len(tasks))


def _begin(work: Path, plan: dict[str, Any]) -> None:
    """Raises `UserError` for an unfinished build of something else."""
    path = work / "plan.json"
    if path.exists():
        if json.loads(path.read_text()) != plan:
            raise UserError(
                f"{work}: an unfinished build with other files or options; start it again as it was, or"
                " remove that folder"
            )
        return
    work.mkdir(exist_ok=True)
    with replacing(path) as file:
        file.write(json.dumps(plan).encode())


def _built_before(final: Path, plan: dict[str, Any]) -> dict[str, Any]:
    path = final / "report.json"
    report = json.loads(path.read_text()) if path.exists() else {}
    if report.get("plan") != plan:
        raise UserError(f"{final}: a dataset of other files or options; choose another name, or remove it")
    return report


def _told(reasons: dict[str, dict[str, Any]]) -> str:
    return ", ".join(
        f"{entry['count']} {reason}, as {entry['examples'][0]}" for reason, entry in sorted(reasons.items())
    )


def _check_packages(config: BuildConfig, files: Sequence[Path]) -> None:
    import importlib.util

    needed = {"datasketch"} if config.near is not None else set()
    needed |= {"zstandard"} if any(p.suffix == ".zst" for p in files) else set()
    needed |= {"pyarrow"} if any(p.suffix == ".parquet" for p in files) else set()
    for package in sorted(needed):
        if importlib.util.find_spec(package) is None:
            raise UserError(f"this build needs the package {package}; pip install 'scaling[data]'")
