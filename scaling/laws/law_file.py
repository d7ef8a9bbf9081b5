"""A fitted law as one JSON file: its rows, its settings, its result, and hashes over all of it.

The rows travel with the law, so that a forecast from the file refits exactly what was fitted, and a
reader can check it.
"""

import dataclasses
import json

import numpy as np
import pandas as pd
from etils import epath

from scaling.config import canonical_json
from scaling.errors import UserError
from scaling.laws.code_version import code_version, content_sha256, read_sealed_json
from scaling.laws.fits import LawFits, all_laws, fit, fit_all
from scaling.laws.law_fit import LawFit
from scaling.results.files import write_atomically

KIND = "scaling law fit"
ALL = "all"  # in place of a law's name: approaches 2 and 3
_AGREE = 1e-6  # relative difference of parameters that a refit elsewhere may show


def write_law(path: epath.PathLike, law: LawFit | LawFits, settings: dict) -> dict:
    """Writes a fit where `read_law` and `scaling forecast` find it; returns what is in the file.

    settings: the options it was fitted with (level, bootstrap, seed, delta, objective, ...), as
    `fit` and `fit_all` take them. An existing file is replaced at once (atomically).
    """
    body = {
        "kind": KIND,
        "law": law.law if isinstance(law, LawFit) else ALL,
        "settings": settings,
        "rows": _rows(law),
        "result": law.to_json(),
        "code_version": code_version(),
    }
    body = json.loads(canonical_json(body))
    body["sha256"] = content_sha256(body)
    write_atomically(path, json.dumps(body, indent=1, allow_nan=False) + "\n")
    return body


def read_law(path: epath.PathLike) -> LawFit | LawFits:
    """The law of a file, refitted to the rows in it. Raises `UserError` if the file was changed, or if
    the refit does not give its parameters (another version of the code)."""
    body = read_sealed_json(path, "law file")
    if body.get("kind") != KIND:
        raise UserError(f"{path}: not a law file (kind {body.get('kind')!r})")
    frame = pd.DataFrame(body["rows"])
    settings, stored = body["settings"], body["result"]
    if body["law"] == ALL:
        law = fit_all(frame, **settings)
        found, expected = law.to_json().get("params"), stored.get("params")
    else:
        law = fit(body["law"], frame, **settings)
        found, expected = law.params, stored["params"]
    for name, value in (expected or {}).items():
        if not np.isclose(found[name], value, rtol=_AGREE, atol=1e-12):
            raise UserError(
                f"{path}: a refit gives {name} = {found[name]:.6g}, the file says {value:.6g}; it was"
                f" written by version {body['code_version']['scaling']} of the code: fit again"
            )
    runs = dataclasses.replace(law.runs, dropped=tuple(stored["dropped"]))
    return dataclasses.replace(law, runs=runs)


def _rows(law: LawFit | LawFits) -> dict[str, list]:
    runs = law.runs
    columns = {"run_id": list(runs.run_ids)}
    fitted = [law] if isinstance(law, LawFit) else all_laws(law)
    names = dict.fromkeys(c for one in fitted if isinstance(one, LawFit) for c in one.form.columns)
    for name in dict.fromkeys(("n_params", "n_tokens", *names)):
        values = runs.flops if name == "flops" else getattr(runs, name, None)
        if values is None and name not in ("n_params", "n_tokens", "flops"):
            values = runs.column(name)
        if values is not None and name != "flops":
            columns[name] = [float(v) for v in values]
    if runs.flops is not None:
        columns["train_flops"] = [float(v) for v in runs.flops]
        columns["tag_budget"] = [int(v) for v in runs.budgets]
    target = law.form.target if isinstance(law, LawFit) else "loss"
    columns[target] = [float(v) for v in runs.loss]
    for name, values in (("weight", runs.weight), ("loss_stderr", runs.standard_error)):
        if values is not None:
            columns[name] = [float(v) for v in values]
    return columns
