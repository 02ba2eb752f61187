"""What the rows of new tokens begin as, in the embedding and in a head of its own.

Contract: a function of the model folder, the vocabulary and ``new_tokens`` alone: the same in every process, at every
layout and on both backends. A mean is summed in float64 and rounded to the type the matrix has. Cost: a process that
holds a new row reads the matrix once, a block of rows at a time.
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


def first_row(matrix: Any, known: int, start: NewTokens) -> Tensor:
    """The row a new token begins with, from the ``known`` first of a tensor or of a lazy slice of a file."""
    if start == "last_row":
        return matrix[known - 1 : known][0].clone()
    total, dtype = torch.zeros((), dtype=torch.float64), torch.float32
    for row in range(0, known, _BLOCK):
        block = matrix[row : min(row + _BLOCK, known)]
        total, dtype = total + block.sum(0, dtype=torch.float64), block.dtype
    return (total / known).to(dtype)


class Enlarged:
    """The tensors of a model folder, embedding and head with the rows of a vocabulary."""

    def __init__(self, tensors: SafeTensors, vocabulary: Vocabulary, start: NewTokens):
        self._tensors, self._vocabulary, self._start = tensors, vocabulary, start

    def __getitem__(self, name: str) -> Any:
        """A lazy slice; index it to read."""
        stored = self._tensors[name]
        if name in _MATRICES and self._vocabulary.new:
            return _EnlargedSlice(stored, self._vocabulary, self._start)
        return stored


@dataclass(frozen=True)
class _EnlargedSlice:
    stored: Any
    vocabulary: Vocabulary
    start: NewTokens

    def get_shape(self) -> list[int]:
        return [self.vocabulary.rows, *self.stored.get_shape()[1:]]

    def __getitem__(self, place: slice) -> Tensor:
        begin, end, _ = place.indices(self.vocabulary.rows)
        last = self.stored.get_shape()[0]
        rows = self.stored[begin : min(end, last)] if begin < last else self.stored[0:0]
        rows = torch.cat((rows, rows.new_zeros(end - begin - rows.shape[0], *rows.shape[1:])))
        for token in self.vocabulary.new:
            if begin <= token < end:
                rows[token - begin] = self._first
        return rows

    @cached_property
    def _first(self) -> Tensor:
        return first_row(self.stored, self.vocabulary.known, self.start)


def enlarge(model: PreTrainedModel, vocabulary: Vocabulary, start: NewTokens) -> None:
    """Give a model of transformers the same rows."""
    if not vocabulary.new:
        return
    firsts = [first_row(matrix.weight.detach(), vocabulary.known, start) for matrix in _matrices(model)]
    if vocabulary.rows > _matrices(model)[0].weight.shape[0]:
        model.resize_token_embeddings(vocabulary.rows, mean_resizing=False)
    for matrix, first in zip(_matrices(model), firsts, strict=True):
        matrix.weight.data[list(vocabulary.new)] = first


def _matrices(model: PreTrainedModel) -> list[Any]:
    """Embedding and, if the model has one, head."""
    return [matrix for matrix in (model.get_input_embeddings(), model.get_output_embeddings()) if matrix is not None]
