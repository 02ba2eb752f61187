"""Time, tokens, rates, memory and utilisation of each step.

Contract: ``slots`` counts positions computed, ``real_tokens`` those that are not padding, ``trained_tokens`` those that
carry loss. A rate always names one of the three and covers all processes. Memory is the main process's: the peak of its
GPU, or its resident memory on a CPU. Cost: a sum of four floats over processes, on the CPU: no GPU waits for it.
"""

from __future__ import annotations

import time
from typing import Any

import psutil
import torch

from codeact_train.data.collate import StepBatch
from codeact_train.distributed.cuda import has_cuda
from codeact_train.distributed.parallel_context import sum_over_data_parallel
from codeact_train.observability.mfu import ModelFlopsUtilization


class Throughput:
    """Measures the steps of one process."""

    def __init__(self, mfu: ModelFlopsUtilization | None):
        self.mfu = mfu
        self._process = psutil.Process()
        self._began = self._data_loaded = time.monotonic()

    def reset_memory_peak(self) -> None:
        """Forget the peak so far, so that that of the steps is reported."""
        if has_cuda():
            torch.cuda.reset_peak_memory_stats()

    def start_step(self) -> None:
        """Call when a step begins, before its data is loaded."""
        self._began = time.monotonic()

    def data_loaded(self) -> None:
        """Call when the step's data is loaded."""
        self._data_loaded = time.monotonic()

    def end_step(self, batch: StepBatch) -> dict[str, Any]:
        """Fields of the step's event. Every process calls it."""
        keys = self.mfu.keys_seen(batch.micro_batches) if self.mfu else 0
        own = torch.tensor([*batch.counts, keys], dtype=torch.float64)
        *counts, keys_seen = sum_over_data_parallel(own).tolist()
        took = time.monotonic() - self._began
        names = ("slots", "real_tokens", "trained_tokens")
        fields: dict[str, Any] = {name: int(count) for name, count in zip(names, counts, strict=True)}
        fields |= {f"{name}_per_s": round(count / took, 3) for name, count in zip(names, counts, strict=True)}
        fields |= {"step_s": round(took, 6), "data_wait_s": round(self._data_loaded - self._began, 6)}
        fields["memory_gib"] = round(self._memory() / 2**30, 3)
        if self.mfu:
            _, real, trained = counts
            mfu = self.mfu.share(real=real, trained=trained, keys=keys_seen, seconds=took)
            fields["mfu"] = float(f"{mfu:.6g}")
        return fields

    def _memory(self) -> int:
        if has_cuda():
            return torch.cuda.max_memory_allocated()
        return int(self._process.memory_info().rss)
