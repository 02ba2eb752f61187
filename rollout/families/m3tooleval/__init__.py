"""The family ``m3tooleval``: tasks of several calls in five small domains (CodeAct, arXiv 2402.01030, section 2.2)."""

from rollout.families.m3tooleval.family import generate

__all__ = ["generate"]
