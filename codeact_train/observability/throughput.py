"""What a step took: time, tokens by kind, rates, memory, utilisation.

Contract: ``slots`` counts positions computed, ``real_tokens`` those that are not padding, ``trained_tokens`` those that
carry loss; a rate is only ever one of the three by name, and is of all processes together. Memory is the main
process's: the most its GPU has held, or what it holds of the host's. Cost: a sum of four floats over processes.
"""

from __future__ import annotations

import time
from typing import Any

import psutil
import torch

from codeact_train.data.collate import StepBatch
from codeact_train.distributed.parallel_context import over_data
from codeact_train.observability.mfu import Utilisation


class Meter:
    """Times the steps of one process."""

    def __init__(self, utilisation: Utilisation | None):
        self.utilisation = utilisation
        self._process = psutil.Process()
        self._began = self._loaded = time.monotonic()

    def begin(self) -> None:
        """A step begins, by waiting for its data."""
        self._began = time.monotonic()

    def loaded(self) -> None:
        """The data is there."""
        self._loaded = time.monotonic()

    def read(self, batch: StepBatch) -> dict[str, Any]:
        """Fields of the event of a step that has ended. Every process calls it."""
        keys = self.utilisation.keys_seen(batch.micro_batches) if self.utilisation else 0
        *counts, keys_seen = over_data([float(count) for count in (*batch.counts, keys)])
        took = time.monotonic() - self._began
        names = ("slots", "real_tokens", "trained_tokens")
        fields: dict[str, Any] = {name: int(count) for name, count in zip(names, counts, strict=True)}
        fields |= {f"{name}_per_s": round(count / took, 3) for name, count in zip(names, counts, strict=True)}
        fields |= {"step_s": round(took, 6), "data_wait_s": round(self._loaded - self._began, 6)}
        fields["memory_gib"] = round(self._memory() / 2**30, 3)
        if self.utilisation:
            _, real, trained = counts
            mfu = self.utilisation.share(real=real, trained=trained, keys=keys_seen, seconds=took)
            fields["mfu"] = float(f"{mfu:.6g}")
        return fields

    def _memory(self) -> int:
        if torch.cuda.is_available():
            return torch.cuda.max_memory_allocated()
        return int(self._process.memory_info().rss)
