"""A window of steps under torch's profiler.

Contract: ``profile/steps-A-B-rank-R.json`` is a trace for Perfetto or chrome://tracing, the ``.txt`` beside it lists
the costliest operators. Each process writes one. Cost: none outside the window. Recording slows the steps within it, so
their rates mean nothing.
"""

from __future__ import annotations

from pathlib import Path

from torch.profiler import ProfilerActivity, profile

from codeact_train.config.train import ProfileSettings
from codeact_train.distributed.cuda import has_cuda

ROWS = 40
"""Operators in the table."""


class Profiler:
    """Profiles the configured window of steps; none if ``settings`` is ``None``."""

    def __init__(self, settings: ProfileSettings | None, folder: Path, rank: int):
        self.settings, self.folder, self.rank = settings, folder, rank
        self._running: profile | None = None

    def start_step(self, step: int) -> None:
        """Call before each step: opens the window at its first step and closes it after its last."""
        if self.settings is None:
            return
        if self._running is None and step == self.settings.first_step:
            cuda = [ProfilerActivity.CUDA] if has_cuda() else []
            self._running = profile(activities=[ProfilerActivity.CPU, *cuda], record_shapes=True)
            self._running.start()
        elif self._running is not None and step == self.settings.first_step + self.settings.steps:
            self.close(step)

    def close(self, step: int) -> None:
        """Close an open window before this step and write what it recorded."""
        if self._running is None or self.settings is None:
            return
        self._running.stop()
        self.folder.mkdir(parents=True, exist_ok=True)
        stem = self.folder / f"steps-{self.settings.first_step}-{step - 1}-rank-{self.rank}"
        self._running.export_chrome_trace(f"{stem}.json")
        order = "self_cuda_time_total" if has_cuda() else "self_cpu_time_total"
        table = self._running.key_averages().table(sort_by=order, row_limit=ROWS)
        stem.with_suffix(".txt").write_text(table, encoding="utf-8")
        self._running = None
