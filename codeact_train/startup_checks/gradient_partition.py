"""``partition``: gradients of two documents in one micro-batch equal those of the documents one by one."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from codeact_train.data.collate import StepBatch, collate
from codeact_train.data.document import Document
from codeact_train.startup_checks.check import CheckContext, StartupCheck
from codeact_train.startup_checks.documents import shortest


def partition(context: CheckContext) -> StartupCheck:
    """Gradients of two documents in one micro-batch against two, relative to their norm."""
    documents = shortest(context.corpus, 2)
    together = _gradient(context, [documents])
    apart = _gradient(context, [[d] for d in documents])
    squares = torch.stack([(together - apart).square().sum(), together.square().sum()]).double()
    dist.all_reduce(squares)
    bound = 1e-4 if context.job.train.precision == "fp32" else 5e-2
    value = (squares[0] / squares[1]).sqrt().item()
    return StartupCheck("partition", value, bound, "relative difference of gradients between two micro-batch splits")


def _gradient(context: CheckContext, split: list[list[Document]]) -> Tensor:
    """This process's gradient of the documents' mean loss, as one vector."""
    longest = max(sum(len(d.ids) - 1 for d in documents) for documents in split)
    multiple = context.job.train.parallel.slot_multiple
    rows = context.state.rows
    batches = [collate(documents, multiple, 0 if rows else longest, rows=rows) for documents in split]
    return context.state.gradient(StepBatch(batches, float(sum(b.weights.sum() for b in batches))))
