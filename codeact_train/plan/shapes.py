"""Shapes of known models, for a plan made where their weights are not.

Contract: ``configs/shapes`` holds one folder a model with the numbers of its ``config.json`` and, as
``_name_or_path``, its hub id. They are enough to plan and too little to train.
"""

from __future__ import annotations

import json
from pathlib import Path

from codeact_train.model.spec import ModelSpec
from codeact_train.plan.model_cost import ModelCost

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "shapes"


def known_shape(name: str) -> ModelCost:
    """A shipped shape by the name of its folder."""
    return ModelCost.from_spec(ModelSpec.read(FOLDER / name))


def folder_of(hub_id: str) -> Path | None:
    """The folder of the shipped shape with this hub id."""
    for config in sorted(FOLDER.glob("*/config.json")):
        if json.loads(config.read_text(encoding="utf-8"))["_name_or_path"] == hub_id:
            return config.parent
    return None
