"""Checks the splits of a family."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rollout.checks.validate.answers import answers_of
from rollout.checks.validate.report import Finding, Problem, SplitReport
from rollout.families.base import Task
from rollout.families.data import DataFamily, MissingDataError
from rollout.graders import judge
from rollout.registry import GRADERS

_THREADS = min(os.cpu_count() or 1, 4)
"""Threads that wait for graders in processes of their own."""


def validate_family(
    family: DataFamily, split: str | None = None, data_root: Path | None = None, limit: int | None = None
) -> Iterator[SplitReport]:
    """Checks each split of a family, or one.

    Args:
        family: the family.
        split: only this one.
        data_root: folder of data sets.
        limit: this many tasks of a split, spread evenly over it; None: all.

    Raises:
        ValueError: the split does not exist, or the family's grader is not registered.
    """
    for one in [split] if split else family.splits(data_root):
        yield _validate_split(family, one, data_root, limit)


def _validate_split(family: DataFamily, split: str, data_root: Path | None, limit: int | None) -> SplitReport:
    started, report = time.monotonic(), SplitReport(family.name, split)
    try:
        loaded = family.load(split, data_root)
    except MissingDataError as fault:
        report.missing = str(fault)
        return report
    tasks = spread(loaded.tasks, limit)
    for grader in {task.grader for task in tasks}:
        GRADERS.check(grader)
    report.tasks, report.refused = len(tasks), dict(loaded.refused)
    with ThreadPoolExecutor(_THREADS) as threads:
        for checked in threads.map(check_task, tasks):
            report.include(checked)
    report.seconds = time.monotonic() - started
    return report


def spread(tasks: Sequence[Task], limit: int | None) -> list[Task]:
    """At most ``limit`` tasks, evenly spread over the split."""
    if limit is None or limit >= len(tasks):
        return list(tasks)
    return [tasks[index * len(tasks) // limit] for index in range(limit)]


def check_task(task: Task) -> SplitReport:
    """Judges every right and wrong answer of one task."""
    answers, report = answers_of(task), SplitReport(task.family, task.split)
    report.right, report.wrong = len(answers.right), len(answers.wrong)
    report.without_answer = int(not answers.right)
    for proposed in answers.right:
        verdict = judge(task.grader, proposed, task.answer)
        report.accepted += verdict.kind == "right"
        if verdict.kind != "right":
            problem: Problem = "right answer refused" if verdict.kind == "wrong" else "no verdict"
            report.add(Finding(task.id, problem, proposed, verdict.reason))
    for proposed in answers.wrong:
        verdict = judge(task.grader, proposed, answers.wrong_reference or task.answer)
        report.rejected += verdict.kind == "wrong"
        if verdict.kind != "wrong":
            problem = "wrong answer accepted" if verdict.kind == "right" else "no verdict"
            report.add(Finding(task.id, problem, proposed, verdict.reason))
    return report
