"""Raw files to a clean TFDS dataset: read, filter, deduplicate, decontaminate, write."""

from scaling.corpus.build import build_corpus
from scaling.corpus.config import BuildConfig

__all__ = ["BuildConfig", "build_corpus"]
