"""Reading an experiment from what the user named."""

import json
import pathlib
from collections.abc import Sequence

from scaling import gin_config
from scaling.errors import UserError
from scaling.experiment import Experiment


def read_experiment(path: str, bindings: Sequence[str]) -> Experiment:
    """From `.json` (as runs keep it) or gin. Raises `UserError`."""
    if not path.endswith(".json"):
        if gin_config.describes_study(path):
            raise UserError(f"{path} is a study, expected an experiment; its runs: scaling plan {path}")
        return gin_config.load_experiment(path, bindings).config
    if bindings:
        raise UserError("-b changes a gin file; a .json experiment is fixed")
    return Experiment.from_json(read_json(pathlib.Path(path)), path)


def read_json(path: pathlib.Path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"no file {path}") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder; expected a file") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{path}: not JSON: {error}") from None
