"""Checks made with the real model, kernels and corpus before the first step; a job that fails one does not train.

Contract: each check measures one number against a bound, and its message says what went wrong. All processes take part.
Cost: a few forward passes over the shortest documents; for ``parity`` also a second copy of the model on the main
process while it runs. Seconds for a small model.

``leak``: the hidden states of a document must not move, on any pipeline stage, when the document beside it changes.
``window``: the attention kernel must not see a key further back than the model's sliding window, if it has one.
``parity``: losses of the loaded weights equal transformers', also beyond the edge of a sliding window if there is one.
``audit``: every assistant turn's end token is trained, and no token of another role is. ``partition``: gradients of two
documents in one micro-batch equal those of the documents one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoModelForCausalLM
from transformers.utils.logging import disable_progress_bar

from codeact_train.backends.run_state import RunState
from codeact_train.config.train import TrainJob
from codeact_train.data.collate import MicroBatch, StepBatch, collate
from codeact_train.data.corpus import Corpus
from codeact_train.data.document import ROLES, Document
from codeact_train.distributed.parallel_context import ParallelContext
from codeact_train.hf.embedding_init import resize_embeddings
from codeact_train.model.attention import PackedAttention, PackedLayout, Spans
from codeact_train.model.gpt import DTYPES
from codeact_train.model.source import ModelSource

AUDITED_DOCUMENTS = 200
ROUNDING_MARGIN = 2.0
"""Largest distance of a loss from its float32 value, relative to that of transformers in the run's precision."""


@dataclass(frozen=True)
class CheckContext:
    """What the checks look at."""

    job: TrainJob
    ctx: ParallelContext
    state: RunState
    corpus: Corpus
    source: ModelSource


@dataclass(frozen=True)
class StartupCheck:
    """Result of one check: a measured number and its bound. ``measures``: what the number is."""

    name: str
    value: float
    bound: float
    measures: str

    @property
    def passed(self) -> bool:
        """Whether the number is within its bound (a NaN is not)."""
        return self.value <= self.bound


class StartupCheckFailed(RuntimeError):
    """A check failed: training would have gone wrong silently."""


def run(context: CheckContext) -> list[StartupCheck]:
    """Run the configured checks. Raises :class:`StartupCheckFailed` for the first that fails."""
    results = []
    for name in context.job.train.startup_checks:
        check = CHECKS[name](context)
        if check is None:  # not applicable to this model
            continue
        if not check.passed:
            raise StartupCheckFailed(
                f"start-up check {name}: {check.measures} is {check.value:.3g}, must be at most {check.bound:.3g}"
            )
        results.append(check)
    return results


def leak(context: CheckContext) -> StartupCheck:
    """Change every token of the first of two documents; on no stage may the second's hidden states move."""
    ctx, state = context.ctx, context.state
    first, second = _shortest(context.corpus, 2)
    changed = Document((first.ids + 7) % state.vocab, first.roles, first.weights, ())
    before, after = (_collate(context, [d, second]) for d in (first, changed))
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


def window(context: CheckContext) -> StartupCheck | None:
    """Change the first key of a document one longer than the window: the last query must not move, the one before it
    must. Exact in any precision. Not applicable to DeepSpeed, where transformers makes the mask."""
    spec, device = context.source.spec, context.ctx.device
    if context.job.train.backend == "deepspeed" or spec is None or not any(spec.windows):
        return None
    size = next(size for size in spec.windows if size)
    moved = torch.tensor([0.0, 0.0], device=device)  # the last query; 1 if the one before it did not move
    modules = [m for m in context.state.model.modules() if isinstance(m, PackedAttention) and m.windowed]
    if modules:
        dtype = DTYPES[context.job.train.precision]
        moved = torch.stack(_moved_by_the_first_key(modules[0], size, spec.head_dim, dtype, device)).float()
        moved[1] = float(moved[1] == 0)
    dist.all_reduce(moved, op=dist.ReduceOp.MAX)
    if moved[1]:
        return StartupCheck("window", float("nan"), 0.0, "effect of the furthest key a query should see")
    return StartupCheck("window", moved[0].item(), 0.0, "effect of a key beyond the sliding window")


def _moved_by_the_first_key(
    module: PackedAttention, size: int, head_dim: int, dtype: torch.dtype, device: torch.device
) -> list[Tensor]:
    """How far the last two of ``size + 1`` queries move when the first key and value change."""
    random = torch.Generator().manual_seed(0)
    q_SHD, k_SGD, v_SGD = (
        torch.randn(size + 1, heads, head_dim, generator=random).to(device, dtype) for heads in (2, 1, 1)
    )
    layout = PackedLayout(Spans.from_bounds((0, size + 1), 0, size + 1), size, q_SHD, q_SHD)
    with torch.no_grad():
        before_SHD = module.attend(q_SHD, k_SGD, v_SGD, layout, module.scale)
        k_SGD[0], v_SGD[0] = -k_SGD[0], -v_SGD[0]
        after_SHD = module.attend(q_SHD, k_SGD, v_SGD, layout, module.scale)
    moved_S = (before_SHD - after_SHD).abs().amax((1, 2))
    return [moved_S[-1], moved_S[-2]]


def parity(context: CheckContext) -> StartupCheck:
    """Loss of each trained token of a document, against transformers with the same weights."""
    document = _past_the_window(context)
    ours, result = context.state.token_losses(_collate(context, [document])), torch.zeros(2)
    if dist.get_rank() == 0:
        theirs, rounded = _transformers_losses(context, collate([document]))
        # how far bf16 alone moves a token's loss cannot be known in advance: transformers' own losses show it
        result[0] = (ours - theirs).abs().max()
        result[1] = 1e-3 + ROUNDING_MARGIN * (rounded - theirs).abs().max()
    result = result.to(context.ctx.device)
    dist.broadcast(result, 0)
    difference, bound = result.tolist()
    return StartupCheck("parity", difference, bound, "difference of a token's loss from transformers'")


def audit(context: CheckContext) -> StartupCheck:
    """Count tokens whose training contradicts their role, over the first documents of the corpus."""
    corpus = context.corpus
    wrong = 0
    for index in range(min(len(corpus), AUDITED_DOCUMENTS)):
        document = corpus.document(index)
        trained = [document.roles == ROLES[role] for role in corpus.trained_roles]
        mine = np.logical_or.reduce(trained)
        if corpus.parity == "paper":  # its mask belongs to the inputs: the token after the role is trained
            wrong += int(np.count_nonzero(document.weights[1:][~mine[:-1]]))
            continue
        wrong += int(np.count_nonzero(document.weights[~mine]))
        wrong += sum(_unended_turns(document, role, corpus.end_token) for role in trained)
    return StartupCheck("audit", wrong, 0, "number of tokens trained against their role, or end tokens left out")


def _unended_turns(document: Document, role: NDArray[np.bool_], end: int) -> int:
    """Number of trained turns of a role whose last token is not the end token, or is not trained."""
    # a turn ends where the role does; one cut off by the end of a piece has no end token to train
    ends = role & ~np.append(role[1:], role[-1:] & (document.ids[-1] != end))
    last = np.flatnonzero(ends)
    last = last[last > 0]  # a piece may begin with the end token of a turn in the piece before
    unended = (document.ids[last] != end) | (document.weights[last] == 0)
    return int(np.count_nonzero(unended & (document.weights[last - 1] > 0)))


def partition(context: CheckContext) -> StartupCheck:
    """Gradients of two documents in one micro-batch against two, relative to their norm."""
    documents = _shortest(context.corpus, 2)
    together = _gradient(context, [documents])
    apart = _gradient(context, [[d] for d in documents])
    squares = torch.stack([(together - apart).square().sum(), together.square().sum()]).double()
    dist.all_reduce(squares)
    bound = 1e-4 if context.job.train.precision == "fp32" else 5e-2
    value = (squares[0] / squares[1]).sqrt().item()
    return StartupCheck("partition", value, bound, "relative difference of gradients between two micro-batch splits")


CHECKS: dict[str, Callable[[CheckContext], StartupCheck | None]] = {
    "leak": leak,
    "window": window,
    "parity": parity,
    "audit": audit,
    "partition": partition,
}


def _shortest(corpus: Corpus, count: int) -> list[Document]:
    """The shortest documents of the corpus; repeated if it has fewer."""
    order = np.argsort(corpus.lengths, kind="stable")[:count].tolist()
    return [corpus.document(order[i % len(order)]) for i in range(count)]


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
    return _shortest(context.corpus, 1)[0]


def _collate(context: CheckContext, documents: list[Document]) -> MicroBatch:
    return collate(documents, context.job.train.parallel.slot_multiple, rows=context.state.rows)


def _transformers_losses(context: CheckContext, batch: MicroBatch) -> tuple[Tensor, Tensor]:
    """Token losses of transformers in float32, and in the run's precision."""
    train = context.job.train
    disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(context.source.folder, dtype=torch.float32).eval()
    resize_embeddings(model, context.source.vocabulary, train.new_tokens)
    losses = []
    with torch.no_grad():
        for precision in (torch.float32, DTYPES[train.precision]):
            logits = model.to(precision)(batch.tokens).logits[0].float()
            losses.append(F.cross_entropy(logits[batch.trained], batch.labels, reduction="none"))
    return losses[0], losses[1]


def _gradient(context: CheckContext, split: list[list[Document]]) -> Tensor:
    """This process's gradient of the documents' mean loss, as one vector."""
    longest = max(sum(len(d.ids) - 1 for d in documents) for documents in split)
    multiple = context.job.train.parallel.slot_multiple
    rows = context.state.rows
    batches = [collate(documents, multiple, 0 if rows else longest, rows=rows) for documents in split]
    return context.state.gradient(StepBatch(batches, float(sum(b.weights.sum() for b in batches))))
