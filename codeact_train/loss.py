"""Cross-entropy of trained tokens over a vocabulary that may be spread over processes.

Contract: the loss of a batch is the weighted sum over its trained tokens divided by the weight of the *global* batch,
so it does not depend on how packs fall into micro-batches or processes. A batch of weight 0 has loss 0.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from megatron.core import parallel_state, tensor_parallel
from torch import Tensor


def vocab_parallel_loss(logits_NV: Tensor, labels_N: Tensor, vocab: int, z_loss: float = 0.0) -> Tensor:
    """Negative log-likelihood of each label, float32 [N].

    ``logits_NV`` is this process's part of the vocabulary, in order of rank; rows from ``vocab`` on are padding that
    makes the parts equal and are left out of the softmax. ``z_loss`` adds the gradient of that many times the squared
    logarithm of the softmax's denominator (PaLM, section 5), which keeps logits from drifting, and not its value.
    """
    if not z_loss:
        return _losses(logits_NV, labels_N, vocab)
    own_N = _label_logits(logits_NV, labels_N)  # first: Megatron's cross-entropy overwrites the logits
    losses_N = _losses(logits_NV, labels_N, vocab)
    z_N = z_loss * (losses_N + own_N).square()  # the loss is log(denominator) minus the label's logit
    return losses_N + (z_N - z_N.detach())


def _losses(logits_NV: Tensor, labels_N: Tensor, vocab: int) -> Tensor:
    size, rank = parallel_state.get_tensor_model_parallel_world_size(), parallel_state.get_tensor_model_parallel_rank()
    valid = min(max(vocab - rank * logits_NV.shape[1], 0), logits_NV.shape[1])
    logits_NV = logits_NV.float()
    if size == 1:
        return F.cross_entropy(logits_NV[:, :valid], labels_N, reduction="none")
    if valid < logits_NV.shape[1]:
        padding_V = torch.arange(logits_NV.shape[1], device=logits_NV.device) >= valid
        logits_NV = logits_NV.masked_fill(padding_V, torch.finfo(torch.float32).min)
    return tensor_parallel.vocab_parallel_cross_entropy(logits_NV, labels_N)


def _label_logits(logits_NV: Tensor, labels_N: Tensor) -> Tensor:
    """The logit of each label, float32 [N], whichever process holds it."""
    width = logits_NV.shape[1]
    places_N = labels_N - parallel_state.get_tensor_model_parallel_rank() * width
    here_N = (places_N >= 0) & (places_N < width)
    picked_N = logits_NV.float().gather(1, places_N.clamp(0, width - 1)[:, None])[:, 0] * here_N
    return tensor_parallel.reduce_from_tensor_model_parallel_region(picked_N)


def normalised(losses_N: Tensor, weights_N: Tensor, total_weight: float) -> Tensor:
    """This micro-batch's part of the global batch's mean loss."""
    return (losses_N * weights_N).sum() / total_weight if total_weight > 0 else (losses_N * 0).sum()
