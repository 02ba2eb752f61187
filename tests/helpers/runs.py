"""What training runs computed, and functions that compare or disturb them."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from codeact_train.data.sampler import Sampler
from codeact_train.hf.export import weights_digest
from codeact_train.system.exit_codes import STOPPED
from tests.helpers.training import events, recipe, run_job

TIMED = ("step_s", "data_wait_s", "time", "memory_gib", "slots_per_s", "real_tokens_per_s", "trained_tokens_per_s")


def outcome(out: Path) -> tuple[list[dict], list[str]]:
    """What a run computed: its steps without clock readings, and the digests of its exports."""
    steps = [{k: v for k, v in event.items() if k not in TIMED} for event in events(out, "step")]
    return steps, [weights_digest(path) for path in sorted((out / "exports").iterdir())]


def fingerprints(out: Path, step: int) -> dict[str, Any]:
    """The fingerprints in the checkpoint of one step."""
    return json.loads((out / "checkpoints" / f"step-{step:06}" / "meta.json").read_text())["fingerprints"]


def flops(step: dict[str, Any]) -> float:
    """Floating-point operations of one step, in units of the peak, from its utilisation and its time."""
    return step["mfu"] * step["step_s"]


def reads_and_writes(
    out: Path, model: Path, corpus: Path, layouts: list[tuple[dict[str, Any], int]], settings: dict[str, Any]
) -> int:
    """Each layout reads what the one before it wrote, leaves its only step out, and writes the same again. Returns the
    number of the last step."""
    for step, (layout, world) in enumerate(layouts, start=1):
        leave = {"skip_steps": list(range(2, step + 1))}
        job = recipe(**settings, **layout, stop_after_steps=step, guard=leave, checkpoint={"keep": 9})
        assert run_job(out, model, corpus, job, world=world) == STOPPED
        assert fingerprints(out, step) == fingerprints(out, 1)
    return len(layouts)


def gradient_is_not_finite(monkeypatch: pytest.MonkeyPatch, where: ModuleType, at: int) -> None:
    """Make the gradient of step ``at`` NaN in the module ``where``; the loss stays finite."""
    now: list[int] = []
    batch, normalised = Sampler.batch, where.normalised

    def noted(self: Any, number: int) -> Any:
        now[:] = [number + 1]
        return batch(self, number)

    def broken(losses: torch.Tensor, weights: torch.Tensor, total: torch.Tensor) -> torch.Tensor:
        part = normalised(losses, weights, total)
        return part + (losses * 0).sum().sqrt() if now == [at] else part

    monkeypatch.setattr(Sampler, "batch", noted)
    monkeypatch.setattr(where, "normalised", broken)
