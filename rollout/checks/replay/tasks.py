"""The task of a recorded run, built from the record itself: its prompt, its reference, and the grader of its family.

Contract: :func:`task_of` needs no data set. :func:`tasks_of` takes games from the family ``alfworld``, because their
rules are in its data root; without it they are left out. Ids are those of the families' split ``mint``.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from rollout.checks.replay.recorded import RecordedRun
from rollout.checks.replay.tools import recorded_search
from rollout.families.base import Task, TaskSet, load_tasks

_OPTION = re.compile(r"(?:\A| , )[A-Z] ?\) ")
_ENTRY_POINT = re.compile(r"^check\((\w+)\)\s*\Z", re.MULTILINE)
_COMPLETE = "Complete the following code:\n\n"
Job = tuple[RecordedRun, Task]
UNIT_TEST_S = 10
"""Time limit of one test in the reference."""


def task_of(run: RecordedRun) -> Task:
    """The task that a run worked on.

    Raises:
        ValueError: the family is not one of MINT's, or the reference does not fit it.
    """
    if run.family not in _ANSWERS:
        known = ", ".join(sorted(_ANSWERS))
        raise ValueError(f"tasks replay: {run.id}: {run.family!r} is not a family of recorded runs; known: {known}")
    grader, answer = _ANSWERS[run.family]
    return Task(
        family=run.family,
        kind=run.family,
        split="mint",
        group="mint",
        id=run.task_id,
        prompt=run.prompt,
        answer=answer(run),
        grader=grader,
        toolset=recorded_search(run),
    )


def tasks_of(runs: Iterable[RecordedRun], data_root: Path | None = None) -> tuple[list[Job], dict[str, str]]:
    """Each run with the task it can be executed on, and for each family that cannot be executed the reason.

    Raises:
        ValueError: as :func:`task_of`.
    """
    games: dict[str, Task] | None = None
    jobs: list[Job] = []
    missing: dict[str, str] = {}
    for run in runs:
        if run.family != "alfworld":
            jobs.append((run, task_of(run)))
            continue
        if games is None:
            games, reason = _games(data_root)
            missing |= {"alfworld": reason} if reason else {}
        if game := games.get(run.task_id):
            jobs.append((run, game))
        elif "alfworld" not in missing:
            raise ValueError(f"tasks replay: {run.id}: the family alfworld has no such game in its split mint")
    return jobs, missing


def _games(data_root: Path | None) -> tuple[dict[str, Task], str]:
    """The games by id, or why there are none."""
    try:
        chosen = TaskSet(family="alfworld", split="mint", count=None, data_root=data_root)
        return {task.id: task for task in load_tasks(chosen)}, ""
    except ValueError as fault:  # the data set or the package textworld is not on this machine
        return {}, f"not executed: {str(fault).splitlines()[0]}"


def _plain(run: RecordedRun) -> str:
    return str(run.reference)


def _options(run: RecordedRun) -> str:
    """The letter and the options, which stand in the prompt as ``Options: A ) 12 , B ) 22``."""
    options = _OPTION.split(run.prompt.rpartition("Options: ")[2])[1:]
    return _json({"letter": run.reference, "options": [option.strip() for option in options]})


def _typed(run: RecordedRun) -> str:
    """The answer of TheoremQA with its type."""
    answer = run.reference
    if isinstance(answer, list):
        kind = "list of integer" if all(isinstance(part, int) for part in answer) else "list of float"
    else:
        kind = {bool: "bool", int: "integer", float: "float", str: "option"}[type(answer)]
    return _json({"answer": answer, "type": kind})


def _tests(run: RecordedRun) -> str:
    """The statements of the reference. HumanEval's are one test, because its last line calls what the others define."""
    entry = _ENTRY_POINT.search(run.reference)
    before = run.prompt.removeprefix(_COMPLETE) + "\n" if run.prompt.startswith(_COMPLETE) else ""
    tests = [run.reference] if entry else [ast.unparse(part) for part in ast.parse(run.reference).body]
    return _json(
        {"before": before, "tests": tests, "entry_point": entry[1] if entry else None, "timeout_s": UNIT_TEST_S}
    )


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False)


_ANSWERS: dict[str, tuple[str, Callable[[RecordedRun], str]]] = {
    "alfworld": ("environment", lambda run: ""),
    "gsm8k": ("short_answer", _plain),
    "hotpotqa": ("short_answer", _plain),
    "humaneval": ("unit_tests", _tests),
    "math": ("short_answer", _plain),
    "mbpp": ("unit_tests", _tests),
    "mmlu": ("choice", _options),
    "theoremqa": ("theoremqa", _typed),
}
"""Family → its grader and the form of the answer. MINT grades math as short answers: its references are decimals."""
