"""Reads a recipe: a YAML file, the files it extends, and the overrides of the command line.

Contract: the result is plain values, which :mod:`launch.config.load` checks. Files are YAML 1.2; overrides are
``section.key=value`` with a value in YAML; OmegaConf merges them. ``configs/NAME.yaml`` is the shipped recipe in a
folder that has no such file. A file with ``extends`` is merged over the one it names: mappings key by key, lists and
values replaced. ``protocol: NAME`` stands for ``protocol: {extends: NAME}``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from launch.config import yaml12
from launch.config.errors import ConfigError

RECIPES = Path(__file__).resolve().parents[2] / "configs"
"""The recipes that come with the project."""


def read_recipe(path: Path, overrides: list[str]) -> dict[str, Any]:
    """The values of the file at ``path`` with ``overrides`` applied.

    Raises:
        ConfigError: a file is missing, is not YAML or extends itself; an override is malformed.
    """
    try:
        merged = _read_with_bases(_find(path.expanduser()), ())
        for override in overrides:
            _apply_override(merged, override)
        plain = OmegaConf.to_container(merged, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{path}: {_one_line(error)}") from None
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _read_with_bases(path: Path, extending: tuple[Path, ...]) -> DictConfig:
    """The file merged over the file it extends; ``extending`` are the files that led here."""
    if path.resolve() in [other.resolve() for other in extending]:
        circle = " → ".join(str(other) for other in (*extending, path))
        raise ConfigError(f"{extending[0]}: extends: {circle} is a circle; remove one of these keys")
    values = _read_mapping(path)
    named = isinstance(values.get("protocol"), str)
    if named:  # so that overrides and further files can change single keys of it
        values["protocol"] = {"extends": values["protocol"]}
    base = values.pop("extends", None)
    if base is None:
        return OmegaConf.create(values)
    if not isinstance(base, str):
        raise ConfigError(f"{path}: extends: must be the path of a recipe (given: {base!r})")
    found = path.parent / Path(base).expanduser()
    if not found.is_file():
        found = _find(Path(base).expanduser(), f"{path}: extends: ")
    inherited = _read_with_bases(found, (*extending, path))
    if named:  # a name replaces the protocol of the base as a whole
        inherited.pop("protocol", None)
    merged = OmegaConf.merge(inherited, OmegaConf.create(values))
    assert isinstance(merged, DictConfig)
    return merged


def _read_mapping(path: Path) -> dict[Any, Any]:
    try:
        values = yaml12.read(path.read_bytes())
    except yaml.reader.ReaderError as error:
        raise ConfigError(
            f"{path}: {error.reason} at position {error.position}; a configuration is text in UTF-8, save it as such"
        ) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: {_one_line(error)}") from None
    if not isinstance(values, dict | None):
        raise ConfigError(f"{path}: a configuration must be a mapping of sections, see configs/demo.yaml")
    return values or {}


def _find(path: Path, prefix: str = "") -> Path:
    """The file itself, or the shipped recipe of that name."""
    if path.is_file():
        return path
    shipped = RECIPES.parent / path
    if path.parts[:1] == (RECIPES.name,) and shipped.is_file():
        return shipped
    if path.is_dir():
        raise ConfigError(f"{prefix}{path}: it is a folder, a YAML file is needed")
    recipes = ", ".join(f"{RECIPES.name}/{recipe.name}" for recipe in sorted(RECIPES.glob("*.yaml")))
    raise ConfigError(f"{prefix}{path}: there is no such file; shipped recipes, usable from any folder: {recipes}")


def _apply_override(merged: DictConfig, override: str) -> None:
    """Sets one ``section.key=value``."""
    key, equals, value = override.partition("=")
    if not (key and equals):
        raise ConfigError(f"'{override}': an override is written section.key=value, for example train.epochs=3")
    if key == "extends":
        raise ConfigError(f"'{override}': only a file can extend another; give the other file, or write a file")
    try:
        _check_list_entries(merged, key)
        given = yaml12.read(value)
        if key == "protocol" and isinstance(given, str):
            merged["protocol"] = {"extends": given}
        else:
            OmegaConf.update(merged, key, given, force_add=True)
    except (OmegaConfBaseException, yaml.YAMLError) as error:
        raise ConfigError(f"'{override}': {_one_line(error)}") from None


def _check_list_entries(merged: DictConfig, key: str) -> None:
    """Refuses ``section.list.0.key=value`` where the file holds no list with such an entry."""
    parts = key.split(".")
    for position, part in enumerate(parts):
        if part.isdecimal():
            owner = ".".join(parts[:position])
            entries = OmegaConf.select(merged, owner)
            if not isinstance(entries, ListConfig):
                raise ConfigError(f"{owner}: the file has no such list, so no entry {part}; give {owner}=[...]")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
