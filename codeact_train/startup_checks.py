"""Proofs made with the real model, kernels and corpus before the first step; a job that fails one does not train.

Contract: each proof measures one number and a bound it must stay under, and fails for a reason a person can act on. All
processes take part. Cost: a few forward passes over the shortest documents and, for ``parity``, a second copy of the
model on the main process for as long as it takes; seconds for a small model.

``leak``: a document's hidden states move, on any pipeline stage, when its neighbour is changed (they must not).
``window``: the attention kernel in use sees a key further back than the model's sliding window, if it has one.
``parity``: losses of the loaded weights against transformers, beyond the edge of a sliding window if there is one.
``audit``: every assistant turn's end token is trained, no token of another role is. ``partition``: gradients of two
documents at once against one after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils.logging import disable_progress_bar

from codeact_train.config.train import TrainJob
from codeact_train.data.collate import MicroBatch, StepBatch, collate
from codeact_train.data.document import ROLES, Document
from codeact_train.data.vocabulary import Vocabulary
from codeact_train.hf.embedding_init import enlarge
from codeact_train.model.attention import PackedAttention, PackedLayout, Spans
from codeact_train.model.gpt import DTYPES
from codeact_train.model.spec import ModelSpec

if TYPE_CHECKING:
    from codeact_train.trainer import Trainer

AUDITED_DOCUMENTS = 200
ROUNDING_MARGIN = 2.0
"""A loss may be so many times as far from float32's as transformers' own in the run's precision."""


@dataclass(frozen=True)
class Proof:
    """What was measured, and the bound it had to stay under."""

    name: str
    value: float
    bound: float
    what: str

    @property
    def holds(self) -> bool:
        """Whether the number is under its bound (a NaN is not)."""
        return self.value <= self.bound


class ProofFailed(RuntimeError):
    """A proof did not hold: training would have gone wrong in silence."""


def run(trainer: Trainer) -> list[Proof]:
    """Make the proofs the configuration names. Raises :class:`ProofFailed` for the first that does not hold."""
    made = []
    for name in trainer.train.proofs:
        proof = PROOFS[name](trainer)
        if proof is None:  # it is about something this model has not
            continue
        if not proof.holds:
            raise ProofFailed(f"proof {name}: {proof.what} is {proof.value:.3g}, must be at most {proof.bound:.3g}")
        made.append(proof)
    return made


def leak(trainer: Trainer) -> Proof:
    """Change every token of the first of two documents; on no stage may the second's hidden states move."""
    first, second = _shortest(trainer, 2)
    changed = Document((first.ids + 7) % trainer.state.vocab, first.roles, first.weights, ())
    before, after = (_lay(trainer, [d, second]) for d in (first, changed))
    moved_S = (trainer.state.hidden(before) - trainer.state.hidden(after)).abs().amax((1, 2))
    place, sharing = trainer.place, trainer.train.parallel.sequence_parallel
    parts, part = (place.tensor, place.tensor_rank) if sharing else (1, 0)
    slots = torch.arange(len(moved_S), device=place.device) + len(moved_S) * (place.context_rank * parts + part)
    own, others = (slots < before.bounds[1]), (slots >= before.bounds[1]) & (slots < before.bounds[2])
    table = torch.zeros(place.pipeline, 2, device=place.device)
    table[place.pipeline_rank] = torch.stack([(moved_S * mask).max() for mask in (own, others)])
    dist.all_reduce(table, op=dist.ReduceOp.MAX)
    if not table[:, 0].min() > 0:
        return Proof("leak", float("nan"), 0.0, "effect of changing a document on itself")
    return Proof("leak", table[:, 1].max().item(), 1e-5, "change of hidden states beside a document that was changed")


def window(trainer: Trainer) -> Proof | None:
    """Change the first key of a document one longer than the window: the last query must not move, the one before it
    must. Exact in any precision."""
    if trainer.train.backend == "deepspeed" or not any(ModelSpec.read(trainer.job.model).windows):
        return None
    spec, device = ModelSpec.read(trainer.job.model), trainer.place.device
    size = next(size for size in spec.windows if size)
    moved = torch.tensor([0.0, 0.0], device=device)  # of the last query, and what the one before it falls short of
    modules = [m for m in trainer.state.model.modules() if isinstance(m, PackedAttention) and m.windowed]
    if modules:
        moved = torch.stack(_moved_by_the_first_key(modules[0], size, spec.head_dim, trainer)).float()
        moved[1] = float(moved[1] == 0)
    dist.all_reduce(moved, op=dist.ReduceOp.MAX)
    if moved[1]:
        return Proof("window", float("nan"), 0.0, "effect of the furthest key a query should see")
    return Proof("window", moved[0].item(), 0.0, "effect of a key beyond the sliding window")


def _moved_by_the_first_key(module: PackedAttention, size: int, head_dim: int, trainer: Trainer) -> list[Tensor]:
    """How far the last two of ``size + 1`` queries move when the first key and value change."""
    random = torch.Generator().manual_seed(0)
    dtype, device = DTYPES[trainer.train.precision], trainer.place.device
    q_SHD, k_SGD, v_SGD = (
        torch.randn(size + 1, heads, head_dim, generator=random).to(device, dtype) for heads in (2, 1, 1)
    )
    layout = PackedLayout(Spans.of((0, size + 1), 0, size + 1), size, q_SHD, q_SHD)
    with torch.no_grad():
        before_SHD = module.attend(q_SHD, k_SGD, v_SGD, layout, module.scale)
        k_SGD[0], v_SGD[0] = -k_SGD[0], -v_SGD[0]
        after_SHD = module.attend(q_SHD, k_SGD, v_SGD, layout, module.scale)
    moved_S = (before_SHD - after_SHD).abs().amax((1, 2))
    return [moved_S[-1], moved_S[-2]]


def parity(trainer: Trainer) -> Proof:
    """Loss of each trained token of a document, against transformers on the same weights."""
    document = _past_the_window(trainer)
    batch = collate([document])
    ours, told = trainer.state.token_losses(_lay(trainer, [document])), torch.zeros(2)
    if dist.get_rank() == 0:
        theirs, rounded = _transformers_losses(trainer.job, batch, DTYPES[trainer.train.precision])
        # what bf16 alone does to a token's loss is not known beforehand: transformers' own shows it
        told[0] = (ours - theirs).abs().max()
        told[1] = 1e-3 + ROUNDING_MARGIN * (rounded - theirs).abs().max()
    told = told.to(trainer.place.device)
    dist.broadcast(told, 0)
    difference, bound = told.tolist()
    return Proof("parity", difference, bound, "difference of a token's loss from transformers'")


def audit(trainer: Trainer) -> Proof:
    """Count tokens whose training contradicts their role, over the first documents of the corpus."""
    corpus = trainer.corpus
    wrong = 0
    for index in range(min(len(corpus), AUDITED_DOCUMENTS)):
        document = corpus.document(index)
        trained = [document.roles == ROLES[role] for role in corpus.trained_roles]
        mine = np.logical_or.reduce(trained)
        if corpus.parity == "paper":  # its mask stands with the inputs: what follows the role is trained
            wrong += int(np.count_nonzero(document.weights[1:][~mine[:-1]]))
            continue
        wrong += int(np.count_nonzero(document.weights[~mine]))
        wrong += sum(_unended_turns(document, role, corpus.end_token) for role in trained)
    return Proof("audit", wrong, 0, "number of tokens trained against their role, or end tokens left out")


def _unended_turns(document: Document, role: NDArray[np.bool_], end: int) -> int:
    """Trained turns of a role whose last token is not the end token, or is not trained."""
    # a turn ends where the role does; one cut off by the end of a piece has no end token to train
    ends = role & ~np.append(role[1:], role[-1:] & (document.ids[-1] != end))
    last = np.flatnonzero(ends)
    last = last[last > 0]  # a piece may begin with the end token of a turn that stands in the piece before
    unended = (document.ids[last] != end) | (document.weights[last] == 0)
    return int(np.count_nonzero(unended & (document.weights[last - 1] > 0)))


def partition(trainer: Trainer) -> Proof:
    """Gradients of two documents in one micro-batch against two, relative to their norm."""
    documents = _shortest(trainer, 2)
    together = _gradient(trainer, [documents])
    apart = _gradient(trainer, [[d] for d in documents])
    squares = torch.stack([(together - apart).square().sum(), together.square().sum()]).double()
    dist.all_reduce(squares)
    bound = 1e-4 if trainer.train.precision == "fp32" else 5e-2
    value = (squares[0] / squares[1]).sqrt().item()
    return Proof("partition", value, bound, "relative difference of gradients between two micro-batch splits")


PROOFS: dict[str, Callable[[Trainer], Proof | None]] = {
    "leak": leak,
    "window": window,
    "parity": parity,
    "audit": audit,
    "partition": partition,
}


def _shortest(trainer: Trainer, count: int) -> list[Document]:
    """The shortest trained documents, repeated if the corpus has fewer."""
    order = np.argsort(trainer.corpus.lengths, kind="stable")[:count].tolist()
    return [trainer.corpus.document(order[i % len(order)]) for i in range(count)]


def _past_the_window(trainer: Trainer) -> Document:
    """The shortest document that trains a token from one that does not see the first; the shortest of all if there is
    none."""
    window = getattr(AutoConfig.from_pretrained(trainer.job.model), "sliding_window", None) or 0
    lengths = trainer.corpus.lengths
    longer = np.flatnonzero(lengths - 1 > window)
    for index in longer[np.argsort(lengths[longer], kind="stable")].tolist():
        document = trainer.corpus.document(index)
        if document.weights[1:][window:].any():
            return document
    return _shortest(trainer, 1)[0]


def _lay(trainer: Trainer, documents: list[Document]) -> MicroBatch:
    return collate(documents, trainer.train.parallel.slot_multiple, rows=trainer.state.rows)


def _transformers_losses(job: TrainJob, batch: MicroBatch, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """In float32, and in the run's precision."""
    disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(job.model, dtype=torch.float32).eval()
    enlarge(model, Vocabulary.for_job(job), job.train.new_tokens)
    losses = []
    with torch.no_grad():
        for precision in (torch.float32, dtype):
            logits = model.to(precision)(batch.tokens).logits[0].float()
            losses.append(F.cross_entropy(logits[batch.trained], batch.labels, reduction="none"))
    return losses[0], losses[1]


def _gradient(trainer: Trainer, split: list[list[Document]]) -> Tensor:
    """This process's gradient of the documents' mean loss, as one vector."""
    longest = max(sum(len(d.ids) - 1 for d in documents) for documents in split)
    multiple = trainer.train.parallel.slot_multiple
    rows = trainer.state.rows
    batches = [collate(documents, multiple, 0 if rows else longest, rows=rows) for documents in split]
    return trainer.state.gradient(StepBatch(batches, float(sum(b.weights.sum() for b in batches))))
