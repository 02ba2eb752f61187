"""Judges the episodes of a bank again."""

from rollout.regrade.bank import Changes, regrade_bank
from rollout.regrade.references import TaskReferences

__all__ = ["Changes", "TaskReferences", "regrade_bank"]
