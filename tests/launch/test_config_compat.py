"""Recipes of version 0.1.0 load to what they meant then.

``resolved/`` holds their resolved configurations, as ``codeact loop FILE --print-config`` of that version printed them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from codeact_train.config.base import Settings
from launch.config import load, yaml12
from launch.config.errors import renamed_keys
from launch.config.loop import LoopConfig
from sandbox.validation import model_in

FOLDER = Path(__file__).resolve().parents[1] / "data" / "compat" / "config"
RECIPES = sorted(FOLDER.glob("*.yaml"))


HELDOUT = {"family": "procedural", "split": "heldout", "count": 60, "seed": 0, "kinds": None}
"""The tasks of the benchmark ``procedural-heldout``, which a configuration may now leave out."""


NEWER_CHECKS = ("prompt",)
"""Start-up checks that the default has gained since; an old resolved configuration lists those it had."""


def kept(old: Any, new: Any) -> bool:
    """Whether ``new`` has every value of ``old``, under today's keys; keys that are new since then do not count."""
    if isinstance(old, Mapping):
        return all(key in new and kept(value, new[key]) for key, value in old.items())
    if isinstance(old, list):
        return len(old) == len(new) and all(map(kept, old, new))
    return bool(old == new)


def with_new_keys(model: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` under the keys of today."""
    renamed = {}
    for key, value in values.items():
        name = getattr(model, "RENAMED", {}).get(key, key)
        inner = model_in(model.model_fields[name].annotation)
        if inner and isinstance(value, dict):
            value = with_new_keys(inner, value)
        elif inner and isinstance(value, list):
            value = [with_new_keys(inner, entry) for entry in value]
        renamed[name] = value
    return renamed


def resolved(recipe: Path) -> dict[str, Any]:
    """What a recipe loads to today."""
    config = load(recipe, []).model_dump(mode="json")
    for benchmark in config["evaluate"]["benchmarks"]:
        benchmark["tasks"] = benchmark["tasks"] or HELDOUT
    checks = config["train"]["startup_checks"]
    config["train"]["startup_checks"] = [check for check in checks if check not in NEWER_CHECKS]
    return config


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_an_old_recipe_means_what_it_meant(recipe: Path) -> None:
    old = yaml12.read((FOLDER / "resolved" / recipe.name).read_text())
    assert kept(with_new_keys(LoopConfig, old), resolved(recipe))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_an_old_resolved_configuration_is_the_same_run(recipe: Path) -> None:
    assert resolved(FOLDER / "resolved" / recipe.name) == resolved(recipe)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_the_recipes_of_today_are_the_old_ones(recipe: Path) -> None:
    today = Path(__file__).resolve().parents[2] / "configs" / recipe.name
    newer = ["evaluate.base_protocols=[]"]  # the demo also measures its base model under these
    assert load(today, newer) == load(recipe, [])


class Optimizer(Settings):
    """A section with a renamed key."""

    RENAMED: ClassVar[dict[str, str]] = {"clip": "clip_grad"}
    clip_grad: float = 1.0


class Train(Settings):
    """A section that holds others."""

    optimizer: Optimizer = Optimizer()
    several: tuple[Optimizer, ...] = ()


def test_an_old_key_is_accepted_and_the_notice_gives_the_new_one() -> None:
    values = {"optimizer": {"clip": 0.5}, "several": [{"clip": 2.0}, {"clip_grad": 3.0}]}
    config = Train.model_validate(values)
    assert config.optimizer.clip_grad == 0.5
    assert [entry.clip_grad for entry in config.several] == [2.0, 3.0]
    assert list(renamed_keys(Train, values)) == [
        "optimizer.clip is now optimizer.clip_grad",
        "several.clip is now several.clip_grad",
    ]
    assert not list(renamed_keys(Train, config.model_dump()))


def test_the_old_and_the_new_key_together_are_refused() -> None:
    with pytest.raises(ValueError, match="clip is the former name of clip_grad, leave it out"):
        Train.model_validate({"optimizer": {"clip": 0.5, "clip_grad": 0.5}})
