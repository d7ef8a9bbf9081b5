"""The three families, from one set of blocks. Each reads a batch of an objective."""

import dataclasses

import jax

from scaling.models.attention import Scope
from scaling.models.block import make_layers, run_layers
from scaling.models.config import (
    DecoderConfig,
    EncoderConfig,
    EncoderDecoderConfig,
    ModelConfig,
)
from scaling.models.forward import Forward
from scaling.models.layers import Norm
from scaling.models.splash import Pattern
from scaling.models.transformer import Inputs, Transformer

Batch = dict[str, jax.Array]
ENCODER = 2**31  # of draws: the decoder's are the pass's own, numbered by layer


class Decoder(Transformer):
    """Next-token logits; attention is causal, but for a prefix, and stays inside a segment."""

    def __init__(self, config: DecoderConfig):
        super().__init__(config)
        self.layers = make_layers(config, "decoder")
        self.final_norm = Norm(config, "embed")

    def hidden(self, batch: Batch, forward: Forward) -> jax.Array:
        """[B, T, D] of the decoder's positions, after the final norm."""
        inputs = Inputs.of(batch, "decoder")
        x_BTD = self.embed(inputs, "decoder", forward)
        x_BTD = run_layers(self.layers, x_BTD, self.scope(inputs, "decoder"), inputs.in_use(forward))
        return self.final_norm(x_BTD)


class Encoder(Transformer):
    """Logits of each position from its whole segment."""

    def __init__(self, config: EncoderConfig):
        super().__init__(config)
        self.encoder_layers = make_layers(config, "encoder")
        self.encoder_final_norm = Norm(config, "embed")

    def hidden(self, batch: Batch, forward: Forward) -> jax.Array:
        """[B, T, D] of the encoder's positions, after the final norm."""
        return encode(self, Inputs.of(batch, "encoder"), forward)


class EncoderDecoder(Transformer):
    """Next-token logits of a decoder that also reads the encoder's segment of the same id."""

    def __init__(self, config: EncoderDecoderConfig):
        super().__init__(config)
        self.encoder_layers = make_layers(config, "encoder")
        self.encoder_final_norm = Norm(config, "embed")
        self.layers = make_layers(config, "decoder", cross=True)
        self.final_norm = Norm(config, "embed")

    def hidden(self, batch: Batch, forward: Forward) -> jax.Array:
        """[B, T, D] of the decoder's positions, after the final norm."""
        read, inputs = Inputs.of(batch, "encoder"), Inputs.of(batch, "decoder")
        encoded_BSD = encode(self, read, forward)
        x_BTD = self.embed(inputs, "decoder", forward)
        pattern = Pattern(inputs.segments, read.segments)
        cross = Scope(inputs.segments[:, :, None] == read.segments[:, None, :], pattern=pattern)
        x_BTD = run_layers(
            self.layers, x_BTD, self.scope(inputs, "decoder"), inputs.in_use(forward), encoded_BSD, cross
        )
        return self.final_norm(x_BTD)


def encode(model: Encoder | EncoderDecoder, inputs: Inputs, forward: Forward) -> jax.Array:
    """[B, S, D], the encoder's output after its final norm. Its taps' names begin with `encoder_`."""
    named = dataclasses.replace(
        forward.numbered(ENCODER), tap=lambda name, x: forward.tap(f"encoder_{name}", x)
    )
    x_BSD = model.embed(inputs, "encoder", named)
    x_BSD = run_layers(
        model.encoder_layers, x_BSD, model.scope(inputs, "encoder"), inputs.in_use(named)
    )
    return model.encoder_final_norm(x_BSD)


def family_of(config: ModelConfig) -> type[Transformer]:
    """The module class of a config."""
    families = {"decoder": Decoder, "encoder": Encoder, "encoder_decoder": EncoderDecoder}
    return families[config.family]
