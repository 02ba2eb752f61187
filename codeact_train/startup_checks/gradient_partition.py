"""``partition``: gradients of two documents in one micro-batch equal those of the documents one by one.

Cost: two forward and backward passes, and the host's memory for one gradient of this process's weights.
"""

from __future__ import annotations

from collections.abc import Iterator

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
    # one gradient of the model at a time on the device: the first waits in the host's memory
    together = [gradient.to("cpu", copy=True) for gradient in _gradients(context, [documents])]
    squares = torch.zeros(2, dtype=torch.float64, device=context.ctx.device)
    for one, other in zip(together, _gradients(context, [[d] for d in documents]), strict=True):
        one = one.to(other.device)
        squares += torch.stack([(one - other).square().sum(), one.square().sum()]).double()
    dist.all_reduce(squares)
    bound = 1e-4 if context.job.train.precision == "fp32" else 5e-2
    value = (squares[0] / squares[1]).sqrt().item()
    return StartupCheck("partition", value, bound, "relative difference of gradients between two micro-batch splits")


def _gradients(context: CheckContext, split: list[list[Document]]) -> Iterator[Tensor]:
    """This process's gradient of the documents' mean loss, weight by weight."""
    longest = max(sum(len(d.ids) - 1 for d in documents) for documents in split)
    multiple = context.job.train.parallel.slot_multiple
    rows = context.state.rows
    batches = [collate(documents, multiple, 0 if rows else longest, rows=rows) for documents in split]
    return context.state.gradients(StepBatch(batches, float(sum(b.weights.sum() for b in batches))))
