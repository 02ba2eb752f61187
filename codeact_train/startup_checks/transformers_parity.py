"""``parity``: losses of the loaded weights equal transformers', also beyond the edge of a sliding window."""

from __future__ import annotations

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoModelForCausalLM
from transformers.utils.logging import disable_progress_bar

from codeact_train.data.collate import MicroBatch, collate
from codeact_train.data.document import Document
from codeact_train.hf.embedding_init import resize_embeddings
from codeact_train.model.gpt import DTYPES
from codeact_train.startup_checks.check import CheckContext, StartupCheck
from codeact_train.startup_checks.documents import collate_for, shortest

ROUNDING_MARGIN = 2.0
"""Largest distance of a loss from its float32 value, relative to that of transformers in the run's precision."""


def parity(context: CheckContext) -> StartupCheck:
    """Loss of each trained token of a document, against transformers with the same weights."""
    document = _past_the_window(context)
    ours, result = context.state.token_losses(collate_for(context, [document])), torch.zeros(2)
    if dist.get_rank() == 0:
        theirs, rounded = _transformers_losses(context, collate([document]))
        # how far bf16 alone moves a token's loss cannot be known in advance: transformers' own losses show it
        result[0] = (ours - theirs).abs().max()
        result[1] = 1e-3 + ROUNDING_MARGIN * (rounded - theirs).abs().max()
    result = result.to(context.ctx.device)
    dist.broadcast(result, 0)
    difference, bound = result.tolist()
    return StartupCheck("parity", difference, bound, "difference of a token's loss from transformers'")


def _past_the_window(context: CheckContext) -> Document:
    """The shortest document that trains a token which does not see the first token; the shortest of all if there is
    none."""
    window = getattr(context.source.config, "sliding_window", None) or 0
    lengths = context.corpus.lengths
    longer = np.flatnonzero(lengths - 1 > window)
    for index in longer[np.argsort(lengths[longer], kind="stable")].tolist():
        document = context.corpus.document(index)
        if document.weights[1:][window:].any():
            return document
    return shortest(context.corpus, 1)[0]


def _transformers_losses(context: CheckContext, batch: MicroBatch) -> tuple[Tensor, Tensor]:
    """Token losses of transformers in float32, and in the run's precision."""
    train = context.job.train
    disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(
        context.source.folder, config=context.source.config, dtype=torch.float32
    ).eval()
    resize_embeddings(model, context.source.vocabulary, train.new_tokens)
    losses = []
    with torch.no_grad():
        for precision in (torch.float32, DTYPES[train.precision]):
            logits = model.to(precision)(batch.tokens).logits[0].float()
            losses.append(F.cross_entropy(logits[batch.trained], batch.labels, reduction="none"))
    return losses[0], losses[1]
