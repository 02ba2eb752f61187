"""The digest of a training recipe: a checkpoint is continued only by a job with the same one.

Contract: settings that do not change what is trained are left out. The digest of a setting does not change when its key
is renamed, so checkpoints made before stay valid. :func:`recipe_differences` names the settings behind two digests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError
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


def recipe_differences(stored: Mapping[str, Any], train: TrainConfig) -> Iterator[tuple[str, Any, Any]]:
    """Key, value in ``train`` and value in ``stored`` of each setting of the recipe that differs.

    ``stored``: the settings of another job as JSON, also of an earlier version; none when it cannot be read.
    """
    try:
        before = TrainConfig.model_validate(stored)
    except ValidationError:
        return
    mine, other = (_flat("train", each.model_dump(mode="json", exclude=FREE)) for each in (train, before))
    for key in mine.keys() | other.keys():
        if mine.get(key) != other.get(key):
            yield key, mine.get(key), other.get(key)


def _flat(key: str, value: Any) -> dict[str, Any]:
    """Nested settings under dotted keys."""
    if not isinstance(value, dict):
        return {key: value}
    return {name: inner for own, each in value.items() for name, inner in _flat(f"{key}.{own}", each).items()}


def _with_digest_names(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {DIGEST_NAMES.get(key, key): _with_digest_names(inner) for key, inner in value.items()}
