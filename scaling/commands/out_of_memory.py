"""A step that is too large for its devices, said in one line."""

import contextlib
import itertools
from collections.abc import Iterator

from scaling.errors import UserError
from scaling.experiment import Experiment
from scaling.partitioning import MeshConfig

SHOWN = 3


@contextlib.contextmanager
def memory_is_enough(experiment: Experiment, mesh: MeshConfig) -> Iterator[None]:
    """Raises `UserError` where XLA finds no memory for the experiment, with what would need less."""
    import jax

    from scaling.aot.search import candidates

    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        said = str(error).splitlines()[0].removeprefix("RESOURCE_EXHAUSTED: ").rstrip(".")
        less = [words for words, *_ in itertools.islice(candidates(experiment, mesh), SHOWN)]
        advice = f"; nearest first, these need less: {' | '.join(less)}" if less else ""
        raise UserError(f"{experiment.name} does not fit: {said}{advice}") from None
