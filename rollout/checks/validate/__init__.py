"""Checks of task families without a model: right answers are accepted, made wrong ones are rejected.

Contract: every task that a family loads is judged by its grader, once with each right answer of the data set and once
with each wrong answer made from it (:mod:`rollout.checks.validate.answers`). Rows that are no tasks are counted by
reason.
Cost: one call of the grader an answer; tests of code run in processes. Kernels are not used.
"""

from rollout.checks.validate.answers import Answers, answers_of
from rollout.checks.validate.report import Counts, Finding, Problem, SplitReport, table
from rollout.checks.validate.run import check_task, spread, validate_family

__all__ = [
    "Answers",
    "Counts",
    "Finding",
    "Problem",
    "SplitReport",
    "answers_of",
    "check_task",
    "spread",
    "table",
    "validate_family",
]
