"""Cross-entropy of trained tokens, over a vocabulary that may be split over processes.

Contract: the loss of a batch is the weighted sum over its trained tokens divided by the weight of the *global* batch,
so it does not depend on how packs fall into micro-batches or processes. A batch of weight 0 has loss 0.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F
from megatron.core import parallel_state, tensor_parallel
from torch import Tensor


def vocab_parallel_loss(logits_NV: Tensor, labels_N: Tensor, vocab: int, z_loss: float = 0.0) -> Tensor:
    """Negative log-likelihood of each label, float32 [N].

    ``logits_NV`` is this process's part of the vocabulary, in order of rank. Rows from ``vocab`` on are padding that
    makes the parts equal; they are excluded from the softmax. ``z_loss`` adds the gradient, but not the value, of
    ``z_loss`` times the squared logarithm of the softmax's denominator (PaLM, section 5), which keeps logits from
    drifting.
    """
    if not z_loss:
        return _losses(logits_NV, labels_N, vocab)
    own_N = _label_logits(logits_NV, labels_N)  # first: Megatron's cross-entropy overwrites the logits
    losses_N = _losses(logits_NV, labels_N, vocab)
    z_N = z_loss * (losses_N + own_N).square()  # the loss is log(denominator) minus the label's logit
    return losses_N + (z_N - z_N.detach())


def token_results(logits_NV: Tensor, labels_N: Tensor, vocab: int, z_loss: float = 0.0) -> Tensor:
    """Loss of each label, and 1 where no other token is more likely, float32 [2, N]."""
    hits_N = _hits(logits_NV, labels_N, vocab)  # first: Megatron's cross-entropy overwrites the logits
    return torch.stack([vocab_parallel_loss(logits_NV, labels_N, vocab, z_loss), hits_N])


@torch.no_grad()
def _hits(logits_NV: Tensor, labels_N: Tensor, vocab: int) -> Tensor:
    own_N = _label_logits(logits_NV, labels_N)
    valid = _valid(logits_NV, vocab)
    best_N = logits_NV[:, :valid].amax(1).float() if valid else torch.full_like(own_N, -torch.inf)
    if parallel_state.get_tensor_model_parallel_world_size() > 1:
        dist.all_reduce(best_N, op=dist.ReduceOp.MAX, group=parallel_state.get_tensor_model_parallel_group())
    return (own_N >= best_N).float()


def _valid(logits_NV: Tensor, vocab: int) -> int:
    """Number of columns of this process's part that are not padding."""
    width, rank = logits_NV.shape[1], parallel_state.get_tensor_model_parallel_rank()
    return min(max(vocab - rank * width, 0), width)


def _losses(logits_NV: Tensor, labels_N: Tensor, vocab: int) -> Tensor:
    size, valid = parallel_state.get_tensor_model_parallel_world_size(), _valid(logits_NV, vocab)
    logits_NV = logits_NV.float()
    if size == 1:
        return F.cross_entropy(logits_NV[:, :valid], labels_N, reduction="none")
    if valid < logits_NV.shape[1]:
        padding_V = torch.arange(logits_NV.shape[1], device=logits_NV.device) >= valid
        logits_NV = logits_NV.masked_fill(padding_V, torch.finfo(torch.float32).min)
    return tensor_parallel.vocab_parallel_cross_entropy(logits_NV, labels_N)


def _label_logits(logits_NV: Tensor, labels_N: Tensor) -> Tensor:
    """The logit of each label, float32 [N], from the process that holds it."""
    width = logits_NV.shape[1]
    columns_N = labels_N - parallel_state.get_tensor_model_parallel_rank() * width
    here_N = (columns_N >= 0) & (columns_N < width)
    # indexing, unlike gather, does not keep the logits, which are overwritten before the backward pass
    picked_N = logits_NV[torch.arange(len(labels_N)), columns_N.clamp(0, width - 1)].float() * here_N
    return tensor_parallel.reduce_from_tensor_model_parallel_region(picked_N)


def normalised(losses_N: Tensor, weights_N: Tensor, total_weight: float) -> Tensor:
    """This micro-batch's part of the global batch's mean loss."""
    return (losses_N * weights_N).sum() / total_weight if total_weight > 0 else (losses_N * 0).sum()
