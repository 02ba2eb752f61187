"""Whether this process computes on CUDA.

Contract: one answer for the whole process, so that no part of it picks a kernel or a device that another part cannot
use. A process forked after CUDA was initialized cannot use it; it computes on the CPU.
"""

from __future__ import annotations

import torch


def has_cuda() -> bool:
    """Whether tensors live on a CUDA device in this process."""
    return torch.cuda.is_available() and not torch.cuda._is_in_bad_fork()
