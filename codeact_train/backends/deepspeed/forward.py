"""A micro-batch through a model of transformers.

Contract: documents never see one another. If the family separates documents by their positions, they are concatenated
in one row (:meth:`Forward.keeps_apart` tests it). Otherwise (recurrent models, positions that are counted instead of
given) each document gets a separate row, padded at its end, which no causal model sees. The head is computed at trained
positions only, if the family supports it.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from codeact_train.data.collate import MicroBatch

TOLERANCE = 0.02
"""Largest difference between a document's logits beside another document and alone, relative to the largest logit: far
above rounding in bf16, far below the effect of another document or a wrong position."""
_LENGTHS = (7, 12)


class Forward:
    """Computes logits. ``model`` is the possibly wrapped model to call; ``inner`` shows which arguments it takes."""

    def __init__(self, model: nn.Module, inner: nn.Module):
        self.model = model
        takes = inspect.signature(inner.forward).parameters
        self._takes_positions, self._takes_kept = "position_ids" in takes, "logits_to_keep" in takes

    def keeps_apart(self, vocab: int, device: torch.device) -> bool:
        """Whether a document has the same logits after another as it has alone. All processes must call it."""
        if not self._takes_positions:
            return False
        tokens = torch.randint(vocab, (1, sum(_LENGTHS)), generator=torch.Generator().manual_seed(0)).to(device)
        positions = torch.cat([torch.arange(n) for n in _LENGTHS])[None].to(device)
        with torch.no_grad():
            beside = self._logits(tokens, position_ids=positions)[:, _LENGTHS[0] :]
            alone = self._logits(tokens[:, _LENGTHS[0] :], position_ids=positions[:, _LENGTHS[0] :])
        return bool((beside - alone).abs().max() <= TOLERANCE * alone.abs().max())

    def trained_logits(self, batch: MicroBatch, *, rows: bool) -> Tensor:
        """Logits [N, V] of the trained slots of a micro-batch; ``rows``: its documents are separate rows."""
        height = len(batch.bounds) - 1 if rows else 1
        tokens = batch.tokens.view(height, -1)
        row, column = batch.trained // tokens.shape[1], batch.trained % tokens.shape[1]
        arguments: dict[str, Any] = {} if rows else {"position_ids": batch.positions[None]}
        if self._takes_kept:
            arguments["logits_to_keep"], column = column.unique(return_inverse=True)
        return self._logits(tokens, **arguments)[row, column]

    def _logits(self, tokens: Tensor, **arguments: Any) -> Tensor:
        # with a cache, transformers does not derive documents from the positions
        return self.model(input_ids=tokens, use_cache=False, **arguments).logits
