"""Checks of task families without a model: right answers are accepted, made wrong ones are rejected.

Contract: every task that a family loads is judged by its grader, once with each right answer of the data set and once
with each wrong answer made from it (:mod:`rollout.checks.validate.answers`). Rows that are no tasks are counted by
reason.
Cost: one call of the grader an answer; tests of code run in processes. Kernels are not used.
"""

from rollout.checks.validate.report import Finding, SplitReport, table
from rollout.checks.validate.run import validate_family

__all__ = ["Finding", "SplitReport", "table", "validate_family"]
