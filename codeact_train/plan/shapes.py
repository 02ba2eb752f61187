"""Configurations of known models, for planning without their weights.

Contract: ``configs/shapes`` holds one folder per model with the numbers of its ``config.json`` and, as
``_name_or_path``, its hub id. They are sufficient to plan but not to train.
"""

from __future__ import annotations

import json
from pathlib import Path

from codeact_train.model.spec import ModelSpec
from codeact_train.plan.model_cost import ModelCost
from codeact_train.plan.package_data import data_folder

SHAPES = data_folder("shapes")


def shipped_model(name: str) -> ModelCost:
    """The cost of a shipped model, by the name of its folder."""
    return ModelCost.from_spec(ModelSpec.read(SHAPES / name))


def shipped_folder(hub_id: str) -> Path | None:
    """The folder of the shipped model with this hub id, or ``None``."""
    for config in sorted(SHAPES.glob("*/config.json")):
        if json.loads(config.read_text(encoding="utf-8"))["_name_or_path"] == hub_id:
            return config.parent
    return None
