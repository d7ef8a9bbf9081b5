"""How tokens become a batch, on the host in NumPy, and a batch a loss.

Batches. Packed rows, int [..., T + 1], become arrays named as in T5X: `decoder_input_tokens`,
`decoder_target_tokens`, `decoder_loss_weights`, `decoder_segment_ids`, `decoder_positions`, and the
same with `encoder_` for the encoder's stack. A decoder has only the former, an encoder alone only the
latter (its targets too), an encoder-decoder has both, and its decoder's segment s attends to its
encoder's segment s. `decoder_prefix` marks what a decoder may see from both sides.

What can be compared. `loss` is nats per target token, and targets differ by objective: compare it
within one objective, tokenizer and length only. Bits per byte divide the same nats by the UTF-8
bytes of the text that the targets spell (control tokens, sentinels among them, spell none, but what
they cost stays in the numerator), which takes the tokenizer out, and no more:

- `causal_lm` codes every byte of the text given what is to its left: the text's code length.
- `prefix_lm` codes the bytes of each suffix given its prefix. Comparable between families (the same
  bytes given the same text), with `causal_lm` only where that is scored on the same suffixes.
- `span_corruption`, `mixture_of_denoisers`, `masked_lm` code some bytes given text on both sides of
  them: no code length of the text; comparable between models under the same objective, noise and
  sequence length, not with the two above, nor with each other.
"""

from scaling.objectives.build import OBJECTIVES_OF_FAMILY, build_objective, sentinels_needed
from scaling.objectives.causal_lm import CausalLM
from scaling.objectives.config import NoiseConfig, ObjectiveName
from scaling.objectives.lengths import Lengths
from scaling.objectives.losses import LossSums, cross_entropy
from scaling.objectives.objective import Objective, Vocabulary

__all__ = [
    "OBJECTIVES_OF_FAMILY",
    "CausalLM",
    "Lengths",
    "LossSums",
    "NoiseConfig",
    "Objective",
    "ObjectiveName",
    "Vocabulary",
    "build_objective",
    "cross_entropy",
    "sentinels_needed",
]
