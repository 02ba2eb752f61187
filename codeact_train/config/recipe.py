"""The digest of a training recipe: a checkpoint is continued only by a job with the same one.

Contract: settings that do not change what is trained are left out. The digest of a setting does not change when its key
is renamed, so checkpoints made before stay valid.
"""

from __future__ import annotations

import hashlib
from typing import Any

from pydantic_core import to_json

from codeact_train.config.train import TrainConfig

FREE = {
    "startup_checks", "threads", "stop_after_steps", "tensorboard", "export_precision", "wandb", "mlflow", "profile",
    "peak_tflops", "guard", "checkpoint", "parallel", "zero", "micro_batch_packs", "micro_batch_tokens",
    "validate_every_steps", "attention", "recompute",
}  # fmt: skip
"""Settings that may differ between a job and the one that continues it."""

DIGEST_NAMES = {"clip_grad": "clip"}
"""Names under which renamed keys enter the digest."""


def recipe_digest(train: TrainConfig) -> str:
    """Digest of all settings but the free ones, 16 hexadecimal digits."""
    recipe = _with_digest_names(train.model_dump(mode="json", exclude=FREE))
    return hashlib.sha256(to_json(recipe)).hexdigest()[:16]


def _with_digest_names(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {DIGEST_NAMES.get(key, key): _with_digest_names(inner) for key, inner in value.items()}
