"""Asks a causal decoder what prefix LM asks an encoder-decoder: the same tokens, given the same tokens.

    python experiments/decoder_vs_encdec/suffix.py RUN
"""

import functools
import sys

import jax
import numpy as np

from scaling.data import prepare
from scaling.evaluation import score_rows
from scaling.models import build_model
from scaling.objectives import Lengths, NoiseConfig, Objective, Vocabulary
from scaling.objectives.documents import pieces
from scaling.objectives.draws import Draws
from scaling.objectives.pairs import decoder_arrays
from scaling.objectives.prefix_lm import PrefixLM
from scaling.training.trained_run import open_trained


class Suffix(Objective):
    """The pairs of an encoder-decoder's prefix LM in one causal stack, scored on their targets."""

    def __init__(self, vocabulary: Vocabulary, noise: NoiseConfig, length: int):
        self._prefix_lm = PrefixLM(vocabulary, noise, "encoder_decoder", length)
        self.lengths = Lengths(0, length)

    def example(
        self, rows: np.ndarray, seed: int = 0, indices: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        bos_id = self._prefix_lm.vocabulary.bos_id
        made = [self._prefix_lm.pairs(pieces(row, bos_id), Draws(seed, 0)) for row in rows.astype(np.int64)]
        arrays = decoder_arrays(made, self.lengths.decoder)
        del arrays["decoder_prefix"]  # read from left to right, as in training
        return arrays


def suffix_loss(run_dir) -> float:
    """Nats per token, on the rows that validate the run."""
    trained, _ = open_trained(run_dir)
    experiment, tokenizer = trained.experiment, trained.tokenizer
    vocabulary = Vocabulary(tokenizer.vocab_size, tokenizer.bos_id)
    objective = Suffix(vocabulary, experiment.noise, experiment.data.sequence_length)
    logits = _logits(trained.config)
    return score_rows(
        lambda batch, n: objective.loss(logits(trained.params, batch, trained.multipliers), batch),
        objective, prepare(experiment.data).validation_rows, experiment.evaluation.batch_size,
        tokenizer.token_bytes,
    ).loss


@functools.lru_cache
def _logits(config):
    return jax.jit(build_model(config).apply)


if __name__ == "__main__":
    print(f"{suffix_loss(sys.argv[1]):.4f} nats per token")
