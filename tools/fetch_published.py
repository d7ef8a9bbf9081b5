"""Fetches the published runs that `experiments/published` refits, from where their authors put them.

    pip install 'scaling[published]'                  # pooch
    python tools/fetch_published.py --list            # origins, commits, licences
    python tools/fetch_published.py published         # a folder of normalised CSVs
    SCALING_PUBLISHED_DATA=published python experiments/published/refit.py

Most of these files carry no licence that would let us pass them on, so they are fetched, never shipped.
An origin is pinned by its git commit. What is pinned by SHA-256 is the normalised table: every column that
the refits read, to 12 digits. A table that differs is refused and not written.

The digests (published_tables.sha256) are those of the tables behind `experiments/published/results.csv`.
The normalisers were written on a machine without the internet. Those of Gemstones, of 4-digit addition and
of the Chinchilla models were checked there against copies of the origins' text and give the pinned digests;
the others follow the origins' documented columns and could not be run. A wrong step shows as a digest that
differs. Porian's pickles and the datablations notebook are listed, and not normalised; `--list` says why.
"""

import argparse
import dataclasses
import hashlib
import json
import pathlib
import re
import sys
from collections.abc import Callable

import numpy as np
import pandas as pd

from scaling.errors import UserError

HOST = "https://github.com"
ND = {"N": "n_params", "D": "n_tokens"}
DIGESTS = pathlib.Path(__file__).with_name("published_tables.sha256")
EMBEDDING = 50_304  # Gemstones' padded vocabulary: n_params counts one embedding of this many rows
SWEEP = ["model", "total_steps", "peak_lr", "sweep"]


@dataclasses.dataclass(frozen=True)
class Origin:
    """table: the CSV it becomes. normalise: downloaded file -> table. by_hand: why there is none."""

    table: str
    repository: str
    commit: str
    path: str
    licence: str
    normalise: Callable[[pathlib.Path], pd.DataFrame] | None = None
    by_hand: str = ""

    def url(self, host: str) -> str:
        return f"{host}/{self.repository}/raw/{self.commit}/{self.path.replace('+', '%2B')}"


def epoch(path: pathlib.Path) -> pd.DataFrame:
    raw = pd.read_csv(path)[["Model Size", "Training FLOP", "loss"]].dropna()
    size, flops = raw["Model Size"], raw["Training FLOP"]
    dropped = raw.loss.rank(ascending=False) <= 5
    return pd.DataFrame({"n_params": size, "n_tokens": flops / (6.0 * size), "flops": flops,
                         "loss": raw.loss, "dropped_by_epoch": dropped})


def kyo_takano(path: pathlib.Path) -> pd.DataFrame:
    raw = pd.read_csv(path).query("C > 1e18 and N < D")
    return raw.rename(columns=ND)[["n_params", "n_tokens", "loss"]]


def model_table(path: pathlib.Path) -> pd.DataFrame:
    """Two lists of integers in a script: read as text, never run."""
    text = path.read_text()
    lists = [re.search(rf"^{name} = \[([\d, ]+)\]", text, re.M) for name in ("parameters", "d_model")]
    if None in lists:
        raise UserError(f"{path}: no lists `parameters` and `d_model`")
    millions, widths = (np.array([int(word) for word in found[1].split(",")]) for found in lists)
    return pd.DataFrame({"n_params": millions * 10**6, "d_model": widths})


def gemstones(path: pathlib.Path) -> pd.DataFrame:
    raw = pd.DataFrame([json.loads(line) for line in path.read_text().splitlines() if line.strip()])
    table = raw.rename(columns={"params_active_precise": "n_params", "tokens": "n_tokens",
                                "final_loss": "loss"})
    if "width" not in table:
        return table[["n_params", "n_tokens", "loss"]]
    table["n_nonemb"] = table.n_params - EMBEDDING * table.width
    return table[["n_params", "n_tokens", "loss", "width", "depth", "run_name", "n_nonemb"]]


def misfitting(path: pathlib.Path) -> pd.DataFrame:
    return pd.read_csv(path).rename(columns=ND)[["n_params", "n_tokens", "loss", *SWEEP]]


def step_law(path: pathlib.Path) -> pd.DataFrame:
    raw = pd.read_csv(path).drop(columns="loss", errors="ignore")
    table = raw.rename(columns=ND | {"smooth loss": "loss"})
    return table[["n_params", "n_tokens", "loss", "lr", "bs"]]


def routing(path: pathlib.Path) -> pd.DataFrame:
    """The last evaluation of every run."""
    raw = pd.read_csv(path, compression="gzip")
    last = raw.sort_values("step", kind="stable").groupby("hyper_id").last().reset_index()
    table = last.rename(columns={"dense_parameter_count": "n_params", "loss_validation": "loss"})
    return table[["n_params", "loss", "num_experts", "k", "router_type", "seed", "routing_frequency"]]


def isoflops(path: pathlib.Path) -> pd.DataFrame:
    raw = pd.read_csv(path)
    raw = raw[raw.source != "epochai_chinchilla"]  # as in chinchilla_epoch.csv
    table = raw.rename(columns={"params": "n_params", "tokens": "n_tokens", "budget": "flops"})
    return table[["n_params", "n_tokens", "flops", "loss", "experiment", "outlier"]]


def addition(path: pathlib.Path) -> pd.DataFrame:
    """Two arrays of numbers in a script: read as text, never run. The last 3 points are held out."""
    found = [re.search(rf"^{name} = np\.array\(\[([\d.,\s]+)\]\)", path.read_text(), re.M) for name in "xy"]
    if None in found:
        raise UserError(f"{path}: no arrays `x` and `y`")
    x, y = ([float(word) for word in match[1].split(",")] for match in found)
    split = ["train"] * 14 + ["extrapolate"] * (len(x) - 14)
    return pd.DataFrame({"n_tokens": x, "loss": y, "split": split})


GEMSTONES = (
    "cool_begin", "cool_end", "hot", "hot_100b+", "hot_100b+_512x", "hot_120b+_only",
    "hot_sampled_like_chinchilla", "lr_ablation_hot", "lr_ablation_hot_sampled_like_chinchilla",
    "lr_ablation_slim_chinchilla",
)
PICKLE = "a pickle, which can run code when it is read: convert it yourself, in a sandbox"
ORIGINS = (
    Origin("chinchilla_epoch.csv", "epoch-research/analyzing-chinchilla", "9225883",
           "data/svg_extracted_data.csv", "none stated", epoch),
    Origin("chinchilla_kyotakano_234.csv", "kyo-takano/chinchilla", "75e5858", "examples/llm/df.csv",
           "Apache-2.0", kyo_takano),
    Origin("chinchilla_model_table.csv", "TeaPearce/Reconciling_Kaplan_Chinchilla_Scaling_Laws", "c708e5b",
           "script_analysis_kaplan_chinchilla.py", "none stated", model_table),
    *(Origin(f"gemstones_{name.replace('+', 'plus')}.csv", "mcleish7/gemstone-scaling-laws", "5f42047",
             f"wandb_dfs/wandb_df_for_fitting_{name}.jsonl", "MIT", gemstones)
      for name in GEMSTONES),
    Origin("misfitting_final.csv", "hadasah/scaling_laws", "1f3708c",
           "data/scaling_results_last_ckpt_only.csv", "none stated", misfitting),
    Origin("misfitting_ckpts.csv", "hadasah/scaling_laws", "1f3708c", "data/scaling_results.csv",
           "none stated", misfitting),
    Origin("steplaw_dense.csv", "step-law/steplaw", "32a8f4c", "data/dense_lr_bs_loss.csv", "none stated",
           step_law),
    Origin("routing_final.csv", "google-deepmind/scaling_laws_for_routing", "42da0c3", "data/curves.csv.gz",
           "CC-BY-4.0", routing),
    Origin("openathena_isoflops.csv", "Open-Athena/scaling-law-analysis", "3e0656e",
           "data/isoflops/transform/isoflops.csv", "none stated", isoflops),
    Origin("bnsl_4digit_addition.csv", "ethancaballero/broken_neural_scaling_laws", "ffa608f",
           "fit_bnsl_and_extrapolate__4_digit_addition__dataset_size_x-axis.py", "none stated", addition),
    Origin("porian_isoflop.csv", "formll/resolving-scaling-law-discrepancies", "0dc60d9",
           "data/summary_*.pickle.xz", "MIT", by_hand=PICKLE),
    Origin("porian_optima.csv", "formll/resolving-scaling-law-discrepancies", "0dc60d9",
           "data/summary_*.pickle.xz", "MIT", by_hand=PICKLE),
    Origin("datablations_fit182.csv", "huggingface/datablations", "1370131", "utils/parametric_fit.ipynb",
           "Apache-2.0", by_hand="the runs stand in dictionaries of cell 1, those fitted in cell 25; which"
           " ones were left out was decided by hand"),
)


def digest(table: pd.DataFrame, columns: list[str]) -> str:
    """SHA-256 over the values in row order, numbers to 12 digits: independent of how a CSV is written."""
    text = [[f"{value:.12g}" if isinstance(value, float | int | np.number)
             and not isinstance(value, bool | np.bool_) else str(value) for value in row]
            for row in table[columns].itertuples(index=False)]
    return hashlib.sha256(json.dumps([columns, *text]).encode()).hexdigest()


def pinned(path: pathlib.Path = DIGESTS) -> dict[str, str]:
    """SHA-256 by table, from lines as `sha256sum` writes them."""
    return {table: sha for sha, table in (line.split() for line in path.read_text().splitlines())}


def fetch(origin: Origin, folder: pathlib.Path, host: str, digests: dict[str, str]) -> pathlib.Path:
    """Downloads, normalises, checks and writes one table. Raises `UserError`."""
    try:
        import pooch
    except ImportError:
        raise UserError("pooch is missing: pip install 'scaling[published]'") from None
    pooch.get_logger().setLevel("WARNING")
    name = f"{origin.commit}-{origin.path.rsplit('/', 1)[-1]}"
    try:
        raw = pooch.retrieve(origin.url(host), known_hash=None, fname=name, path=folder / "raw")
    except Exception as error:  # whatever the network does
        raise UserError(f"{origin.table}: not downloaded: {str(error).splitlines()[0]}") from None
    try:
        table = origin.normalise(pathlib.Path(raw))
    except (KeyError, ValueError) as error:
        raise UserError(f"{origin.path} at {origin.commit}: not as expected: {error}") from None
    found = digest(table, list(table.columns))
    if found != digests[origin.table]:
        raise UserError(f"{origin.table}: not the table behind results.csv (SHA-256 {found[:12]}"
                        f"..., expected {digests[origin.table][:12]}...); not written")
    table.to_csv(folder / origin.table, index=False)
    return folder / origin.table


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=pathlib.Path, help="where to write the CSVs")
    parser.add_argument("--list", action="store_true", help="say where each table comes from, and stop")
    parser.add_argument("--only", action="append", metavar="CSV", help="one table (may be repeated)")
    parser.add_argument("--host", default=HOST, help="a mirror laid out like GitHub")
    options = parser.parse_args(arguments)
    if options.list or options.folder is None:
        for o in ORIGINS:
            print(f"{o.table:54} {o.repository}@{o.commit} : {o.path} ({o.licence})"
                  + (f"\n    by hand: {o.by_hand}" if o.by_hand else ""))
        return 0
    options.folder.mkdir(parents=True, exist_ok=True)
    failed = 0
    for origin in ORIGINS:
        if options.only and origin.table not in options.only:
            continue
        try:
            if origin.by_hand:
                raise UserError(f"{origin.table}: not fetched: {origin.by_hand}")
            print(fetch(origin, options.folder, options.host, pinned()))
        except UserError as error:
            failed += 1
            print(f"fetch_published.py: {error}", file=sys.stderr)
    return 2 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
