"""metrics.jsonl, and its mirror in TensorBoard's files."""

import json
import struct

import numpy as np
import pytest
from etils import epath
from tensorboardX.proto.event_pb2 import Event

from scaling.training import train
from scaling.training.metrics import MetricsLog


def log_of(folder, n_steps: int) -> MetricsLog:
    log = MetricsLog(epath.Path(folder), n_steps, tokens_per_step=10)
    log.resume(0, {})
    return log


def updates(*losses: float, norm: float = 1.0) -> dict[str, np.ndarray]:
    n = len(losses)
    return {
        "loss": np.array(losses, np.float32),
        "gradient_norm": np.full(n, norm, np.float32),
        "clipped": np.arange(n, dtype=np.float32) % 2,
        "learning_rate": np.linspace(0.1, 0.2, n, dtype=np.float32),
    }


def lines_in(folder) -> list[dict]:
    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    text = (folder / "metrics.jsonl").read_text()
    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


def scalars_in(folder) -> dict[str, dict[int, float]]:
    """Tag -> step -> value of all event files: TFRecords, their checksums left alone."""
    found: dict[str, dict[int, float]] = {}
    for file in folder.glob("events.out.tfevents.*"):
        data, at = file.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack_from("<Q", data, at)
            event = Event.FromString(data[at + 12 : at + 12 + length])
            for value in event.summary.value:
                found.setdefault(value.tag, {})[event.step] = value.simple_value
            at += 12 + length + 4
    return found


def test_an_open_window_given_to_a_checkpoint_does_not_grow(tmp_path):
    """Checkpoints are written while training goes on; what they were given must stay as it was."""
    log = log_of(tmp_path, n_steps=600)
    log.add(0, updates(1.0))
    given = log.pending()
    log.add(1, updates(2.0))
    assert given == {"loss": [1.0], "gradient_norm": [1.0], "clipped": [0.0]}


def test_a_gradient_that_overflows_is_null(tmp_path):
    log = log_of(tmp_path, n_steps=2)
    log.add(0, updates(3.0, 4.0, norm=np.inf))
    log.close()
    assert lines_in(tmp_path) == log.curve
    assert [line["gradient_norm"] for line in log.curve] == [None, None]
    assert [line["loss"] for line in log.curve] == [3.0, 4.0]


def test_the_last_window_may_be_short(tmp_path):
    log = log_of(tmp_path, n_steps=401)
    log.add(0, updates(*range(401)))
    log.close()
    assert log.window == 2
    assert [line["step"] for line in log.curve] == [*range(2, 401, 2), 401]
    assert log.curve[0]["clipped_fraction"] == 0.5
    assert log.curve[0]["loss"] == 0.5 and log.curve[-1]["loss"] == 400.0
    assert log.curve[-1]["n_tokens"] == 4010


@pytest.mark.parametrize("damage", ["", '{"step": 9, "los', "\n"])
def test_a_resumed_log_drops_what_the_checkpoint_does_not_know(tmp_path, damage):
    log = log_of(tmp_path, n_steps=10)
    log.add(0, updates(*range(8)))
    log.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(damage)
    again = MetricsLog(epath.Path(tmp_path), 10, tokens_per_step=10)
    again.resume(5, {})
    assert lines_in(tmp_path) == again.curve == log.curve[:5]
    again.add(5, updates(*range(5, 10)))
    again.close()
    assert [line["loss"] for line in lines_in(tmp_path)] == list(range(10))


def test_tensorboard_holds_the_same_numbers(experiment, tmp_path):
    record = train(experiment(), tmp_path)
    scalars = scalars_in(tmp_path / "tensorboard")
    assert set(scalars) == {"train/loss", "train/gradient_norm", "train/learning_rate",
                            "train/clipped_fraction", "validation/loss", "validation/bits_per_byte"}
    for name in ("loss", "gradient_norm", "clipped_fraction", "learning_rate"):
        expected = {line["step"]: np.float32(line[name]) for line in record.curve}
        assert scalars[f"train/{name}"] == expected
    for name in ("loss", "bits_per_byte"):
        expected = {e.step: np.float32(getattr(e, name)) for e in record.evaluations}
        assert scalars[f"validation/{name}"] == expected
