"""Which checkpoints of a run stay on disk.

Contract: the newest ``keep``, every ``keep_every_steps``-th step, and with ``keep_best`` the one with the lowest
validation loss. The best one on disk is the best of the run, because the best is never removed.
"""

from __future__ import annotations

from collections.abc import Mapping

from codeact_train.config.train import CheckpointSettings


def outdated(losses: Mapping[int, float | None], settings: CheckpointSettings) -> list[int]:
    """Steps whose checkpoints can be removed; ``losses`` maps the step of each complete checkpoint to its validation
    loss, if it has one."""
    steps = sorted(losses)
    kept = set(steps[-settings.keep :])
    if settings.keep_every_steps:
        kept |= {step for step in steps if step % settings.keep_every_steps == 0}
    validated = [(loss, step) for step, loss in losses.items() if loss is not None]
    if settings.keep_best and validated:
        kept.add(min(validated)[1])
    return [step for step in steps if step not in kept]
