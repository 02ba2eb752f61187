"""The configuration of a run: one YAML file and dotted overrides, checked before anything starts."""

from launch.config.errors import ConfigError
from launch.config.load import dump, load, validate
from launch.config.loop import LoopConfig, RayConfig
from launch.config.recipe import RECIPES, read_recipe

__all__ = ["RECIPES", "ConfigError", "LoopConfig", "RayConfig", "dump", "load", "read_recipe", "validate"]
