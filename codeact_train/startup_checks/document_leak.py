"""``leak``: packed documents must not see one another.

The hidden states of a document must not move, on any pipeline stage, when the document beside it changes.
"""

from __future__ import annotations

import torch
import torch.distributed as dist

from codeact_train.data.document import Document
from codeact_train.startup_checks.check import CheckContext, StartupCheck
from codeact_train.startup_checks.documents import collate_for, shortest


def leak(context: CheckContext) -> StartupCheck:
    """Change every token of the first of two documents; on no stage may the second's hidden states move."""
    ctx, state = context.ctx, context.state
    first, second = shortest(context.corpus, 2)
    changed = Document((first.ids + 7) % state.vocab, first.roles, first.weights, ())
    before, after = (collate_for(context, [d, second]) for d in (first, changed))
    moved_S = (state.hidden(before) - state.hidden(after)).abs().amax((1, 2))
    sharing = context.job.train.parallel.sequence_parallel
    parts, part = (ctx.tensor, ctx.tensor_rank) if sharing else (1, 0)
    slots = torch.arange(len(moved_S), device=ctx.device) + len(moved_S) * (ctx.context_rank * parts + part)
    own, others = (slots < before.bounds[1]), (slots >= before.bounds[1]) & (slots < before.bounds[2])
    table = torch.zeros(ctx.pipeline, 2, device=ctx.device)
    table[ctx.pipeline_rank] = torch.stack([(moved_S * mask).max() for mask in (own, others)])
    dist.all_reduce(table, op=dist.ReduceOp.MAX)
    if not table[:, 0].min() > 0:
        return StartupCheck("leak", float("nan"), 0.0, "effect of changing a document on itself")
    return StartupCheck(
        "leak", table[:, 1].max().item(), 1e-5, "change of hidden states beside a document that was changed"
    )
