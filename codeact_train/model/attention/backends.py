"""The attention kernels, and the choice among them.

Contract: each kernel takes q [S, H, D], k and v [T, G, D], the layout and the softmax scale, and returns [S, H, D]; all
compute the same function. An explicitly named kernel that is unavailable is an error; there is no silent fallback.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor

from codeact_train.model.attention import flash, flex, reference, sdpa, varlen
from codeact_train.model.attention.layout import PackedLayout

Attend: TypeAlias = Callable[[Tensor, Tensor, Tensor, PackedLayout, float], Tensor]


@dataclass(frozen=True)
class Backend:
    """A kernel, and a function that returns why it is unavailable for a precision and a width of the heads (``None`` if
    it is available)."""

    attend: Attend
    unavailable: Callable[[str, int], str | None] = lambda precision, head_dim: None


BACKENDS = {
    "flash": Backend(flash.attend, flash.unavailable),
    "varlen": Backend(varlen.attend, varlen.unavailable),
    "flex": Backend(flex.attend, flex.unavailable),
    "sdpa": Backend(sdpa.attend),
    "reference": Backend(reference.attend),
}
"""Kernels in order of preference."""


def choose_backend(name: str, precision: str, head_dim: int) -> str:
    """The kernel to use for heads of this width. Raises ``ValueError`` for one that is unavailable here."""
    reasons = {known: backend.unavailable(precision, head_dim) for known, backend in BACKENDS.items()}
    present = [known for known, reason in reasons.items() if reason is None]
    if name == "auto":
        return present[0]
    if name not in present:
        raise ValueError(f"attention={name}: {reasons[name]}; choose one of {', '.join(present)} or auto")
    return name
