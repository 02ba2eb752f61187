"""Families whose tasks are read from a data set: their base class, and the files that they read."""

from rollout.families.data.family import DataFamily, FamilyInfo, Loaded, Preset, Refused, checked_kinds
from rollout.families.data.mint import mint_source
from rollout.families.data.source import DataRoot, DataSource, MissingDataError

__all__ = [
    "DataFamily",
    "DataRoot",
    "DataSource",
    "FamilyInfo",
    "Loaded",
    "MissingDataError",
    "Preset",
    "Refused",
    "checked_kinds",
    "mint_source",
]
