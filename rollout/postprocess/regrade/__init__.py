"""Judges the episodes of a bank again."""

from rollout.postprocess.regrade.bank import Changes, regrade_bank
from rollout.postprocess.regrade.references import TaskReferences

__all__ = ["Changes", "TaskReferences", "regrade_bank"]
