"""A prepared corpus, by the name of this module in earlier versions; :mod:`codeact_train.data.corpus` defines it."""

from codeact_train.data.corpus import Corpus

__all__ = ["Corpus"]
