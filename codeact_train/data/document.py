"""The data types of tokenised text: a turn, the role of a token, a document.

Contract: plain values shared by everything that reads a corpus. Importing this module needs only numpy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROLES = {"none": 0, "system": 1, "user": 2, "assistant": 3}
"""Role of a token as stored; ``none`` is text that the template adds."""


@dataclass(frozen=True)
class Turn:
    """One message; ``weight`` is the loss weight of its text and of the control token that ends it."""

    role: str
    content: str
    weight: float = 0.0


@dataclass(frozen=True)
class Document:
    """A conversation as tokens.

    ``ids``: int32 [n]. ``roles``: uint8 [n]. ``weights``: float32 [n], the loss weight of each token as a target.
    ``turn_starts``: positions where a turn's header begins.
    """

    ids: NDArray[np.int32]
    roles: NDArray[np.uint8]
    weights: NDArray[np.float32]
    turn_starts: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def slice(self, start: int, end: int) -> Document:
        """The tokens from ``start`` up to ``end`` as a separate document."""
        turns = tuple(t - start for t in self.turn_starts if start <= t < end)
        part = slice(start, end)
        return Document(self.ids[part], self.roles[part], self.weights[part], turns)


def concatenate(documents: Sequence[Document]) -> tuple[NDArray[np.int32], list[NDArray[Any]]]:
    """The documents' lengths, and their concatenated ids, roles and weights."""
    lengths = np.array([len(d) for d in documents], np.int32)
    ids = np.concatenate([np.zeros(0, np.int32), *(d.ids for d in documents)])
    roles = np.concatenate([np.zeros(0, np.uint8), *(d.roles for d in documents)])
    weights = np.concatenate([np.zeros(0, np.float32), *(d.weights for d in documents)])
    return lengths, [ids, roles, weights]
