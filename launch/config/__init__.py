"""The configuration of a run: one YAML file, dotted overrides, everything checked before anything starts."""

from launch.config.loop import RECIPES, ConfigError, LoopConfig, RayConfig, dump, load, merge, validate

__all__ = ["RECIPES", "ConfigError", "LoopConfig", "RayConfig", "dump", "load", "merge", "validate"]
