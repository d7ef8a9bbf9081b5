"""Text to rows of tokens: corpora, tokenizer, packing, and the order of training."""

from scaling.data.config import CorpusConfig, DataConfig, TokenizerConfig
from scaling.data.pipeline import TrainStream
from scaling.data.prepare import PreparedData, prepare

__all__ = [
    "CorpusConfig",
    "DataConfig",
    "PreparedData",
    "TokenizerConfig",
    "TrainStream",
    "prepare",
]
