"""How long the arrays are that an objective makes of one row."""

from typing import NamedTuple


class Lengths(NamedTuple):
    """Positions of one example in each stack, padding included; 0 where there is no such stack."""

    encoder: int
    decoder: int

    @property
    def targets(self) -> int:
        """Positions that have logits: the decoder's, or the encoder's where it stands alone."""
        return self.decoder or self.encoder
