"""Initial values of the rows of new tokens, in the embedding and in an untied head.

Contract: the values depend only on the model folder, the vocabulary and ``new_tokens``; they are the same in every
process, in every parallel layout and on both backends. A mean is summed in float64 and rounded to the dtype of the
matrix. Cost: a process that holds a new row reads the matrix once, a block of rows at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from codeact_train.config.train import NewTokens
from codeact_train.data.vocabulary import Vocabulary
from codeact_train.hf import SafeTensors

_BLOCK = 4096
_MATRICES = ("model.embed_tokens.weight", "lm_head.weight")


def initial_row(matrix: Any, known: int, start: NewTokens) -> Tensor:
    """The initial row of a new token, from the first ``known`` rows of a tensor or of a lazy slice of a file."""
    if start == "last_row":
        return matrix[known - 1 : known][0].clone()
    total, dtype = torch.zeros((), dtype=torch.float64), torch.float32
    for row in range(0, known, _BLOCK):
        block = matrix[row : min(row + _BLOCK, known)]
        total, dtype = total + block.sum(0, dtype=torch.float64), block.dtype
    return (total / known).to(dtype)


class ResizedEmbeddings:
    """The tensors of a model folder, with embedding and head resized to a vocabulary."""

    def __init__(self, tensors: SafeTensors, vocabulary: Vocabulary, start: NewTokens):
        self._tensors, self._vocabulary, self._start = tensors, vocabulary, start

    def __getitem__(self, name: str) -> Any:
        """A lazy slice; index it to read."""
        stored = self._tensors[name]
        if name in _MATRICES and self._vocabulary.new:
            return _ResizedSlice(stored, self._vocabulary, self._start)
        return stored


@dataclass(frozen=True)
class _ResizedSlice:
    stored: Any
    vocabulary: Vocabulary
    start: NewTokens

    def get_shape(self) -> list[int]:
        return [self.vocabulary.rows, *self.stored.get_shape()[1:]]

    def __getitem__(self, rows_wanted: slice) -> Tensor:
        begin, end, _ = rows_wanted.indices(self.vocabulary.rows)
        last = self.stored.get_shape()[0]
        rows = self.stored[begin : min(end, last)] if begin < last else self.stored[0:0]
        rows = torch.cat((rows, rows.new_zeros(end - begin - rows.shape[0], *rows.shape[1:])))
        for token in self.vocabulary.new:
            if begin <= token < end:
                rows[token - begin] = self._first
        return rows

    @cached_property
    def _first(self) -> Tensor:
        return initial_row(self.stored, self.vocabulary.known, self.start)


def resize_embeddings(model: PreTrainedModel, vocabulary: Vocabulary, start: NewTokens) -> None:
    """Resize a transformers model to the same rows, with the same initial values."""
    if not vocabulary.new:
        return
    firsts = [initial_row(matrix.weight.detach(), vocabulary.known, start) for matrix in _matrices(model)]
    if vocabulary.rows > _matrices(model)[0].weight.shape[0]:
        model.resize_token_embeddings(vocabulary.rows, mean_resizing=False)
    for matrix, first in zip(_matrices(model), firsts, strict=True):
        matrix.weight.data[list(vocabulary.new)] = first


def _matrices(model: PreTrainedModel) -> list[Any]:
    """Embedding and, if the model has one, head."""
    return [matrix for matrix in (model.get_input_embeddings(), model.get_output_embeddings()) if matrix is not None]
