"""The device never waits for the host: updates are dispatched before earlier metrics are read."""

import numpy as np
import pytest

from scaling.data import TrainStream
from scaling.training import train
from scaling.training.program import Program

pytestmark = pytest.mark.usefixtures("chunks_of_32")


class Noted:
    """A metric of a chunk that notes when it is read."""

    def __init__(self, values, name: str, events: list[str]):
        self._values, self._name, self._events = values, name, events

    def __array__(self, dtype=None, copy=None):
        self._events.append(f"read {self._name}")
        return np.asarray(self._values)


@pytest.fixture
def events(monkeypatch):
    found: list[str] = []
    train_chunk, next_batches = Program.train_chunk, TrainStream.next_batches

    def noted_chunk(self, state, rows, hyperparameters, seed=0, first_example=0):
        state, metrics = train_chunk(self, state, rows, hyperparameters, seed, first_example)
        chunk = first_example // 4  # rows of an update
        found.append(f"dispatch {chunk}")
        return state, metrics | {"loss": Noted(metrics["loss"], str(chunk), found)}

    def noted_batches(self, k):
        found.append(f"prepare {self.get_state()['next_index']}")
        return next_batches(self, k)

    monkeypatch.setattr(Program, "train_chunk", noted_chunk)
    monkeypatch.setattr(TrainStream, "next_batches", noted_batches)
    return found


def test_a_chunk_is_dispatched_before_the_one_before_is_read(experiment, events, tmp_path):
    """Chunks of 32, 32, 32 and 4 updates; the evaluation at the end waits for all."""
    train(experiment(n_steps=100, n_evaluations=1), tmp_path)
    assert events == [
        "prepare 0", "dispatch 0",
        "prepare 32", "dispatch 32", "read 0",
        "prepare 64", "dispatch 64", "read 32",
        "prepare 96", "dispatch 96", "read 64", "read 96",
    ]
