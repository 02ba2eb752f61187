"""Fingerprints of tensors, one number a tensor: they detect a save that is stale, empty or torn.

Contract: the fingerprint of a tensor is the sum of its bit patterns, modulo 2**64. Parts may be summed separately and
in any order, so it does not depend on the layout. Any single changed bit changes it; values that only swap places do
not. :func:`check` compares what was read back from disk with the live weights and with the previous save. Cost: one
pass over the weights, at memory speed, while training waits; the thread that writes also does the reading back.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import torch
import torch.distributed as dist
from torch import Tensor

Fingerprints: TypeAlias = dict[str, int]
"""By the name of the tensor."""

_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_PIECE = 2**22  # elements summed at once: torch widens them first, and the temporary must stay small


class CorruptSave(RuntimeError):
    """The files on disk are not the state of the run; training must not go on as if it were saved."""


def fingerprint(parts: Iterable[tuple[str, Tensor]]) -> Fingerprints:
    """Fingerprints of named tensors; parts of the same name are summed."""
    sums: Fingerprints = {}
    for name, tensor in parts:
        flat = tensor.detach().reshape(-1).view(_INTEGERS[tensor.element_size()])
        own = sum(int(piece.sum(dtype=torch.int64)) for piece in flat.split(_PIECE))
        sums[name] = (sums.get(name, 0) + own) % 2**64
    return sums


def sum_over_processes(own: Fingerprints) -> Fingerprints:
    """Sums over all processes, the same in each of them. Every process calls it."""
    everyone: list[Fingerprints] = [{} for _ in range(dist.get_world_size())]
    dist.all_gather_object(everyone, own)
    sums: Fingerprints = {}
    for one in everyone:
        for name, value in one.items():
            sums[name] = (sums.get(name, 0) + value) % 2**64
    return sums


def check(
    where: str, live: Fingerprints, saved: Fingerprints, previous: Fingerprints, since: str, *, learned: bool
) -> None:
    """Compare a save with the weights in memory when it began (``live``) and with an earlier save (``previous``, empty
    if there is none; ``since`` names its distance in steps).

    ``learned``: weights must differ from the previous save, not only moments. Raises :class:`CorruptSave`.
    """
    wrong = [name for name, value in live.items() if saved.get(name) != value]
    if wrong:
        what = "is missing" if wrong[0] not in saved else "differs from what was in memory"
        raise CorruptSave(f"{where}: {wrong[0]} {what} ({len(wrong)} of {len(live)} weights); nothing was replaced")
    moving = [name for name in saved if not (learned and "exp_avg" in name)]
    if moving and all(saved[name] == previous.get(name) for name in moving):
        raise CorruptSave(f"{where}: its weights are bit for bit what was saved {since} ago; nothing was replaced")
    lost = {name for name in previous if "exp_avg" in name} and not any("exp_avg" in name for name in saved)
    if lost:
        raise CorruptSave(f"{where}: the optimizer's moments are missing; nothing was replaced")
