"""The family ``bfcl``: requests and descriptions of functions (Berkeley Function Calling Leaderboard, version 4).

Contract: a task has one turn, in which the model makes the calls that the request needs. The reference holds the
descriptions and the possible answers, in the form that the grader ``calls`` reads. Ids are those of the data set.
Cost: some tens of milliseconds to read all tasks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from rollout.environment import Environment
from rollout.families.base import Task
from rollout.families.bfcl.players import MakesTheCalls
from rollout.families.data import DataFamily, DataRoot, DataSource, FamilyInfo, Refused
from rollout.protocol.call_lists import native_name
from rollout.registry import ENVIRONMENTS

_ADDRESS = "https://github.com/ShishirPatil/gorilla/raw/6ea5797/berkeley-function-call-leaderboard/bfcl_eval/data"
_FILES = {
    "simple": "BFCL_v4_simple_python",
    "multiple": "BFCL_v4_multiple",
    "parallel": "BFCL_v4_parallel",
    "parallel_multiple": "BFCL_v4_parallel_multiple",
    "irrelevance": "BFCL_v4_irrelevance",
}
"""Category → name of its file."""
ALL = "all"


def _source(name: str, *others: str, url: str) -> DataSource:
    files = tuple(f"bfcl/{one}.{end}" for one in (name, *others) for end in ("jsonl.gz", "jsonl", "json"))
    return DataSource(files, url)


QUESTIONS = {one: _source(file, url=f"{_ADDRESS}/{file}.json") for one, file in _FILES.items()}
ANSWERS = {
    one: _source(f"answer_{file}", f"possible_answer/{file}", url=f"{_ADDRESS}/possible_answer/{file}.json")
    for one, file in _FILES.items()
    if one != "irrelevance"
}


class Bfcl(DataFamily):
    """One task a request; its kind and group are the category."""

    name: ClassVar[str] = "bfcl"
    info: ClassVar[FamilyInfo] = FamilyInfo(
        title="BFCL v4, calls in Python's types (Patil et al., 2025)",
        licence="Apache-2.0",
        splits={
            "simple": "400 requests: one function, one call",
            "multiple": "200 requests: several functions, one call",
            "parallel": "200 requests: one function, several calls",
            "parallel_multiple": "200 requests: several functions, several calls",
            "irrelevance": "240 requests that no function fits",
            ALL: "1,240 requests: the five splits above",
        },
        sources={
            **{one: tuple(part[one] for part in (QUESTIONS, ANSWERS) if one in part) for one in _FILES},
            ALL: (*QUESTIONS.values(), *ANSWERS.values()),
        },
        grader="calls",
        protocol="bfcl-code",
        defects=(
            "The original removes blanks, punctuation and operators from texts before it compares them: `3.5` is `35` "
            "and `x^2-1` is `x21`. Here signs, decimal points and the operators of formulas count.",
            "The original gives each possible answer the first call that fits it, so that a right list of calls can "
            "fail by its order; here calls and answers are assigned as a whole.",
            "The original refuses an argument that has its documented default where the answers do not name it, and "
            "one that the answers name and the description does not. Here both are right.",
            "The original accepts an empty list or text for an argument that may be left out, and 1 for true within "
            "objects. Here they are wrong.",
            "The original parses Python, so that calls with variables or in a loop are lost, and drops positional "
            "arguments. Here Python runs, the calls that it makes count, and positional arguments are those of the "
            "description's order.",
            "The original counts every turn that it cannot read as a right refusal; here a call that cannot be read is "
            "wrong.",
        ),
    )

    def read(self, split: str, root: DataRoot) -> Iterator[Task | Refused]:
        for category in _FILES if split == ALL else [split]:
            answers = self._answers(category, root)
            for row in root.rows(QUESTIONS[category]):
                yield self._task(split, category, row, answers)

    def _answers(self, category: str, root: DataRoot) -> Mapping[str, Any] | None:
        """Id → possible answers; None for requests that no function fits."""
        if category not in ANSWERS:
            return None
        return {row["id"]: row["ground_truth"] for row in root.rows(ANSWERS[category])}

    def _task(
        self, split: str, category: str, row: Mapping[str, Any], answers: Mapping[str, Any] | None
    ) -> Task | Refused:
        wanted = [] if answers is None else answers.get(row["id"])
        if wanted is None:
            return Refused(row["id"], "without possible answers")
        described = {one["name"] for one in row["function"]}
        if any(name not in described for call in wanted for name in call):
            return Refused(row["id"], "with an answer that calls a function that is not described")
        if len({native_name(name) for name in described}) < len(row["function"]):
            return Refused(row["id"], "with two functions of the same name")
        ((question,),) = row["question"]
        answer = {"category": category, "functions": row["function"], "calls": wanted}
        return self.task(
            split,
            row["id"],
            prompt=question["content"],
            answer=answer,
            kind=category,
            group=category,
            expert=MakesTheCalls(row["function"], wanted),
            environment=calls_of_a_turn,
        )


def calls_of_a_turn(task: Task, kernels: Any, protocol: Any) -> Environment:
    """The environment of these tasks."""
    environment: Environment = ENVIRONMENTS.get("described_calls")(task, kernels, protocol)
    return environment


generate = Bfcl()
