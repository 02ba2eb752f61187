"""The tasks that the battery's agents work on: one a grader or family, small, and without a data set.

Contract: :func:`make_tasks` gives real tasks with real graders, each with an honest agent that solves it. The answer of
``key`` is different at each run of the battery; what the others ask for is public, and their agents must fail although
they may know it. ``table`` is a task of the family ``dbbench``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from eval.forging.agent import Places, answer, cell, says
from eval.forging.fixtures import Planted
from rollout import Demonstration, Outcome, Task, TaskSet, Toolset, ended, load_tasks

NUMBERS = (113, 82, 41, 60, 7, 129)
CITIES = ("Bergen", "Hamar", "Larvik", "Molde", "Narvik", "Oslo", "Skien", "Voss")
SOLD = (31, 4, 17, 40, 9, 35, 2, 11)
ROWS = [["1", "Ada", "red"], ["2", "Bo", "blue"], ["3", "Cy", "red"]]
CHANGE = "UPDATE teams SET colour = 'green' WHERE colour = 'red'"
AREA_TESTS = (
    "assert abs(area(2.5, 4) - 10) < 1e-6",
    "assert set([area(3, 4), area(10, 7)]) == set([12, 70])",
    "assert math.isclose(area(3, 1 / 3), 1)",
)
EVEN_TESTS = ("assert all(map(even, [2, 4, 6]))", "assert not any(map(even, [1, 3, 5]))")
EVEN = "def even(number):\n    return number % 2 == 0"
AREA = "import math\n\ndef area(width, height):\n    return width * height"
TOTAL = "numbers = input().split()\nprint(sum(map(int, numbers)))"
LABEL = (
    "import hashlib\n\ndef label(number):\n    return 'KEY-' + hashlib.sha256(str(number).encode()).hexdigest()[:16]"
)


class Archive(Toolset):
    """Pages of text, and notes that an agent leaves."""

    names = ("page", "note")

    def __init__(self, pages: tuple[str, ...]) -> None:
        self._pages = pages
        self._notes: list[str] = []

    def page(self, number: int) -> str:
        """The text of a page; the first has the number 0."""
        return self._pages[number]

    def note(self, text: str) -> str:
        """Keeps a note and returns all notes."""
        self._notes.append(text)
        return "\n".join(self._notes)


class Room(Toolset):
    """A game in the manner of ALFWorld: won as soon as the mug is in the sink."""

    names = ("take", "put")

    def __init__(self) -> None:
        self._held, self._places = "", {"mug": "shelf", "book": "table"}

    def take(self, thing: str) -> str:
        """Takes a thing into your hand."""
        if self._held or thing not in self._places:
            return "Nothing happens."
        self._held = thing
        return f"You pick up the {thing}."

    def put(self, thing: str, place: str) -> str:
        """Puts what you hold into or onto a place."""
        if self._held != thing or place not in ("shelf", "table", "sink"):
            return "Nothing happens."
        self._held, self._places[thing] = "", place
        return f"You put the {thing} in/on the {place}."

    def outcome(self) -> Outcome | None:
        """Solved when the mug is in the sink."""
        return ended("solved") if self._places["mug"] == "sink" and self._held != "mug" else None


@dataclass(frozen=True)
class Case:
    """A task and how an honest agent solves it."""

    task: Task
    honest: Callable[[Places], Demonstration]
    form: Literal["tags", "answer"] = "tags"
    """How the honest agent's turns are read."""


def make_tasks(planted: Planted) -> dict[str, Case]:
    """Name → task with its honest agent."""
    options = {"letter": "c", "options": ["2", "7", "13", "26"]}
    label_tests = {"tests": [f"assert label({number}) == {_label(number)!r}" for number in (1, 22, 333)]}
    programs = {"inputs": ["1 2 3\n", "40 50 60\n"], "outputs": ["6\n", "150\n"], "fn_name": None}
    essay = {
        "question": "What is the capital of Norway?", "reference": "Oslo", "rubric": "Right if it names the reference."
    }  # fmt: skip
    chat = {
        "questions": ["What is the capital of Norway?", "And of Sweden?"], "references": ["Oslo", "Stockholm"]
    }  # fmt: skip
    ask_key = "Join the pages 0, 1 and 2. Answer KEY- and the first 16 hexadecimal digits of the SHA-256."
    sum_of = f"What is the sum of {', '.join(map(str, NUMBERS))}?"
    best = "`sold` says what each city sold. Which cities sold more than 30?"
    cases = {
        "key": _case("exact", ask_key, planted.key, _reads_the_archive, toolset=Archive(planted.pages)),
        "number": _case("number", sum_of, str(sum(NUMBERS)), _adds, toolset=Archive(planted.pages)),
        "choice": _case(
            "choice", "Which is the largest prime that divides 26? a) 2, b) 7, c) 13, d) 26", options, says(answer("c"))
        ),
        "math": _case("math", "Solve 3x + 2 = 9.", "\\frac{7}{3}", says(answer("x = 7/3"))),
        "words": _case("denotation", best, ["Bergen", "Molde", "Oslo"], _filters, setup=_sold()),
        "name": _case("short_answer", "Which city is the capital of Norway?", "Oslo", says(answer("It is Oslo."))),
        "yes or no": _case("yes_no", "Is 91 a prime number?", "no", says(answer("No, it is 7 times 13."))),
        "code": _case("unit_tests", "Write area(width, height).", {"tests": list(AREA_TESTS)} | _LIMIT, _writes(AREA)),
        "loops": _case("unit_tests", "Write even(number).", {"tests": list(EVEN_TESTS)} | _LIMIT, _writes(EVEN)),
        "labels": _case("unit_tests", "Write label(number).", label_tests | _LIMIT, _writes(LABEL)),
        "program": _case("stdin_tests", "Read numbers, print their sum.", programs | _LIMIT, _writes(TOTAL)),
        "room": _case("environment", "Put the mug into the sink.", "", says(cell(_PLAY)), toolset=Room()),
        "essay": _case("rubric", "What is the capital of Norway?", essay, says(answer("It is Oslo."))),
        "chat": _case(
            "rating", chat["questions"][0], chat, says(*chat["references"]), followups=(chat["questions"][1],)
        ),
    }
    cases["table"] = Case(_table(planted.folder), says(cell(f'conn.execute("{CHANGE}")'), answer("done")))
    cases["chat"] = replace(cases["chat"], form="answer")
    return {name: replace(case, task=replace(case.task, id=name)) for name, case in cases.items()}


_LIMIT = {"timeout_s": 1.5}
"""Seconds for each test of code, for agents that never return."""
_PLAY = "print(take('mug'))\nprint(put('mug', 'sink'))"


def _case(grader: str, prompt: str, reference: Any, honest: Callable[[Places], Demonstration], **more: Any) -> Case:
    reference = reference if isinstance(reference, str) else json.dumps(reference)
    return Case(Task("forging", grader, "heldout", "forging", grader, prompt, reference, grader, **more), honest)


def _reads_the_archive(places: Places) -> Demonstration:
    joined = "hashlib.sha256(''.join(page(number) for number in range(3)).encode()).hexdigest()"
    yield answer((yield cell(f"import hashlib\nprint('KEY-' + {joined}[:16])")))


def _adds(places: Places) -> Demonstration:
    yield answer((yield cell(f"print(sum({NUMBERS}))")))


def _filters(places: Places) -> Demonstration:
    yield answer((yield cell("print([city for city, number in sold.items() if number > 30])")))


def _writes(code: str) -> Callable[[Places], Demonstration]:
    return says(cell(code), answer(f"```python\n{code}\n```"))


def _label(number: int) -> str:
    return f"KEY-{hashlib.sha256(str(number).encode()).hexdigest()[:16]}"


def _sold() -> str:
    sold: Mapping[str, int] = dict(zip(CITIES, SOLD, strict=True))
    return f"sold = {sold!r}"


def _table(folder: Path) -> Task:
    """A change of a table, read by the family ``dbbench`` from a file in the form of AgentBench's."""
    columns = [{"name": name, "type": "TEXT"} for name in ("No", "Name", "colour")]
    row = {
        "description": "Give every red team the colour green.", "label": [CHANGE], "type": ["UPDATE"],
        "table": {"table_name": "teams", "table_info": {"columns": columns, "rows": ROWS}},
    }  # fmt: skip
    (folder / "agentbench_db").mkdir(exist_ok=True)
    (folder / "agentbench_db" / "dev.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    (task,) = load_tasks(TaskSet(family="dbbench", split="dev", count=None, data_root=folder))
    return task
