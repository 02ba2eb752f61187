"""``window``: the attention kernel must not see a key further back than the model's sliding window, if it has one."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from codeact_train.model.attention import PackedAttention, PackedLayout, Spans
from codeact_train.model.gpt import DTYPES
from codeact_train.startup_checks.check import CheckContext, StartupCheck


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
