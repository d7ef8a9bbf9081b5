"""A run's folder, opened to use the model that it trained."""

import json

import jax
from etils import epath

from scaling.data import prepare
from scaling.errors import UserError
from scaling.experiment import Experiment
from scaling.generation import TrainedModel
from scaling.models import build_model
from scaling.results import read_record
from scaling.results.buckets import check_bucket
from scaling.training.checkpoints import Checkpoints


def read_run(run_dir: epath.PathLike) -> Experiment:
    """The experiment of a run's folder. Raises `UserError` where there is none."""
    check_bucket(run_dir)
    path = epath.Path(run_dir) / "experiment.json"
    try:
        data = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{run_dir} holds no run: it has no experiment.json") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: not JSON ({error}), so it was damaged from outside") from None
    return Experiment.from_json(data, str(path))


def open_trained(run_dir: epath.PathLike) -> tuple[TrainedModel, int]:
    """The model at the last checkpoint of a run, on one device, and the updates it has had.

    The tokenizer is that of the experiment's data, from the cache or made again. Raises `UserError`
    where there is no run, no checkpoint, or its corpus is another one today (so would the tokens be).
    """
    run_dir, experiment = epath.Path(run_dir), read_run(run_dir)
    none_yet = f"{run_dir} has no checkpoint to load; train it first"
    if not (run_dir / "checkpoints").exists():
        raise UserError(none_yet)
    checkpoints = Checkpoints(run_dir, read_only=True)
    step = checkpoints.latest_step()
    if step is None:
        raise UserError(none_yet)
    prepared, record = prepare(experiment.data), read_record(run_dir)
    trained_on = record.data and record.data["content_hash"] if record else None
    if trained_on and trained_on != prepared.manifest["content_hash"]:
        raise UserError(
            f"{run_dir}: the corpus {prepared.manifest['corpus']} has changed since this run was trained"
            " on it, so its tokens would be others; restore the corpus"
        )
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    abstract = jax.tree.map(
        lambda spec: jax.ShapeDtypeStruct(spec.shape, experiment.model.param_dtype, sharding=device),
        build_model(experiment.model).specs,
    )
    params = checkpoints.restore_params(step, abstract)
    return TrainedModel(experiment, params, prepared.tokenizer), step
