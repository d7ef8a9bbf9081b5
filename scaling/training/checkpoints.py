"""Checkpoints (orbax): parameters, optimizer, step, data order and metrics together."""

import logging
from typing import Any

import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint.checkpoint_managers import LatestN

from scaling.errors import UserError
from scaling.training.program import TrainState


class Checkpoints:
    """The checkpoints of one run, the last two kept; a half-written one is never seen."""

    def __init__(self, run_dir: epath.Path):
        logging.getLogger("absl").setLevel(logging.ERROR)
        options = ocp.CheckpointManagerOptions(
            preservation_policy=LatestN(2), cleanup_tmp_directories=True, create=True
        )
        self._manager = ocp.CheckpointManager(run_dir.resolve() / "checkpoints", options=options)

    def latest_step(self) -> int | None:
        return self._manager.latest_step()

    def save(self, step: int, state: TrainState, host: dict[str, Any]) -> None:
        """Starts an asynchronous save; `host` is JSON (data order, metrics, clocks)."""
        arguments = ocp.args.Composite(
            state=ocp.args.StandardSave(state), host=ocp.args.JsonSave(host)
        )
        try:
            self._manager.save(step, args=arguments)
        except (OSError, ValueError) as error:
            raise _disk_trouble(error) from error

    def restore(self, step: int, abstract_state: TrainState) -> tuple[TrainState, dict[str, Any]]:
        arguments = ocp.args.Composite(
            state=ocp.args.StandardRestore(abstract_state), host=ocp.args.JsonRestore()
        )
        restored = self._manager.restore(step, args=arguments)
        return restored["state"], restored["host"]

    def finish(self) -> None:
        """Waits until the last save is on disk."""
        try:
            self._manager.wait_until_finished()
        except (OSError, ValueError) as error:
            raise _disk_trouble(error) from error
        self._manager.close()


def _disk_trouble(error: Exception) -> Exception:
    """A full disk as one clear line; TensorStore reports it inside a `ValueError`."""
    text = str(error)
    if "No space left" in text or "RESOURCE_EXHAUSTED" in text or "ENOSPC" in text:
        return UserError("cannot write a checkpoint: the disk is full; nothing saved before is lost")
    return error
