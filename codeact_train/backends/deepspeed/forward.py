"""A micro-batch through a model of transformers.

Contract: documents never see one another. Where the family keeps documents apart by their positions, they stand one
after another in one row (:func:`keeps_apart` has tried it); where it does not - recurrent models, positions that are
counted instead of given - each has a row of its own, padded at its end, where no causal model looks. The head is
computed at trained positions only, where the family can.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from codeact_train.data.collate import MicroBatch

TOLERANCE = 0.02
"""How far a document's logits may lie, relative to the largest, from what they are alone: far above what rounding does
in bf16, far below what a foreign document or position does."""
_LENGTHS = (7, 12)


class Forward:
    """``model`` is called, so that whatever wraps the model is; ``inner`` says which arguments the family takes."""

    def __init__(self, model: nn.Module, inner: nn.Module):
        self.model = model
        takes = inspect.signature(inner.forward).parameters
        self._takes_positions, self._takes_kept = "position_ids" in takes, "logits_to_keep" in takes

    def keeps_apart(self, vocab: int, device: torch.device) -> bool:
        """Whether a document has the same logits behind another as it has alone. All processes must ask."""
        if not self._takes_positions:
            return False
        tokens = torch.randint(vocab, (1, sum(_LENGTHS)), generator=torch.Generator().manual_seed(0)).to(device)
        positions = torch.cat([torch.arange(n) for n in _LENGTHS])[None].to(device)
        with torch.no_grad():
            beside = self._logits(tokens, position_ids=positions)[:, _LENGTHS[0] :]
            alone = self._logits(tokens[:, _LENGTHS[0] :], position_ids=positions[:, _LENGTHS[0] :])
        return bool((beside - alone).abs().max() <= TOLERANCE * alone.abs().max())

    def trained_logits(self, batch: MicroBatch, *, rows: bool) -> Tensor:
        """Logits [N, V] of the trained slots, of a micro-batch whose documents are ``rows`` or stand in one."""
        height = len(batch.bounds) - 1 if rows else 1
        tokens = batch.tokens.view(height, -1)
        row, column = batch.trained // tokens.shape[1], batch.trained % tokens.shape[1]
        arguments: dict[str, Any] = {} if rows else {"position_ids": batch.positions[None]}
        if self._takes_kept:
            arguments["logits_to_keep"], column = column.unique(return_inverse=True)
        return self._logits(tokens, **arguments)[row, column]

    def _logits(self, tokens: Tensor, **arguments: Any) -> Tensor:
        # with a cache, transformers does not look for documents in the positions
        return self.model(input_ids=tokens, use_cache=False, **arguments).logits
