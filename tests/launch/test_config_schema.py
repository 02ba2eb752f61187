"""The published JSON schema is that of the configuration, and editors accept the recipes with it."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from launch.config import yaml12
from launch.config.schema import json_schema

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = ROOT / "configs" / "schema.json"
RECIPES = sorted([*(ROOT / "configs").glob("*.yaml"), *(ROOT / "configs" / "base").glob("*.yaml")])


def test_the_published_schema_is_up_to_date() -> None:
    command = "codeact schema --out configs/schema.json"
    assert PUBLISHED.read_text() == json_schema(), f"configs/schema.json is out of date; run: {command}"


def test_every_key_has_a_description() -> None:
    schema = json.loads(json_schema())
    objects = {"LoopConfig": schema, **schema["$defs"]}
    missing = [
        f"{name}.{key}"
        for name, model in objects.items()
        for key, value in model.get("properties", {}).items()
        if not {"description", "$ref"} & value.keys()  # a reference leads to the description of its section
    ]
    assert not missing


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_recipes_name_the_schema_and_follow_it(recipe: Path) -> None:
    first = recipe.read_text().splitlines()[0]
    named = recipe.parent / first.removeprefix("# yaml-language-server: $schema=")
    assert named.resolve() == PUBLISHED
    jsonschema.validate(yaml12.read(recipe.read_text()), json.loads(PUBLISHED.read_text()))


def test_a_misspelt_key_is_an_error_of_the_schema() -> None:
    with pytest.raises(jsonschema.ValidationError, match="epoch"):
        jsonschema.validate(yaml.safe_load("train: {epoch: 3}"), json.loads(json_schema()))
