"""The kernels, and which of them a run uses.

Contract: each takes q [S, H, D], k and v [T, G, D], the layout and the factor on the scores, and returns [S, H, D]; all
compute the same. :func:`choose` is asked once a run; a kernel that was named and is not there is an error, never
silently another.
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
    """A kernel, and what it lacks here to compute in a precision (``None``: nothing)."""

    attend: Attend
    lacks: Callable[[str], str | None] = lambda precision: None


BACKENDS = {
    "flash": Backend(flash.attend, flash.lacks),
    "varlen": Backend(varlen.attend, varlen.lacks),
    "flex": Backend(flex.attend, flex.lacks),
    "sdpa": Backend(sdpa.attend),
    "reference": Backend(reference.attend),
}
"""Kernels in order of preference."""


def choose(name: str, precision: str) -> str:
    """The kernel to use. Raises ``ValueError`` for one that cannot run here."""
    present = [known for known, backend in BACKENDS.items() if backend.lacks(precision) is None]
    if name == "auto":
        return present[0]
    if name not in present:
        raise ValueError(
            f"attention={name}: {BACKENDS[name].lacks(precision)}; choose one of {', '.join(present)} or auto"
        )
    return name
