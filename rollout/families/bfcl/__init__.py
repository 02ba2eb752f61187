"""BFCL: requests that are answered with calls of described functions."""

from rollout.families.bfcl.family import Bfcl, generate

__all__ = ["Bfcl", "generate"]
