"""APPS: programming problems with tests, in two forms (arXiv 2105.09938).

A problem with starter code asks for a function, the others for a program that reads standard input.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from typing import Any, ClassVar

from rollout.families.base import Task
from rollout.families.data import DataFamily, DataRoot, DataSource, FamilyInfo, Preset, Refused
from rollout.families.data.rows import Row

_ADDRESS = "https://huggingface.co/datasets/codeparrot/apps/resolve/main"
_FEWSHOT = 10


class Apps(DataFamily):
    """The kind is the difficulty. Function and standard input are worded differently, as in the paper."""

    name: ClassVar[str] = "apps"
    info: ClassVar[FamilyInfo] = FamilyInfo(
        title="APPS (Hendrycks et al., 2021)",
        licence="MIT",
        splits={
            "train": "5,000 problems without those of `fewshot`; the paper keeps 4,439",
            "fewshot": "the first 10 training problems with tests, which the paper sets aside as examples",
            "test": "5,000 problems",
        },
        sources={
            split: (
                DataSource(
                    (f"apps/{file}.jsonl", f"apps/{file}.jsonl.gz", f"apps/{file}-*.parquet"),
                    f"{_ADDRESS}/{file}.jsonl",
                ),
            )
            for split, file in (("train", "train"), ("fewshot", "train"), ("test", "test"))
        },
        grader="stdin_tests",
        defects=(
            "Rows without tests, with tests that do not parse and with no inputs are refused and counted, as in the "
            "paper, which drops them without a count.",
            "The reference stops all tests of a problem after 11 s together, and a problem without results passes; "
            "`stdin_tests` has a limit for each test, and no tests is an error.",
            "Some published programs are Python 2; the first one that Python 3 can parse is used to check the tests.",
        ),
        presets={
            "paper": Preset(
                "train",
                4439,
                "Every problem with tests that parse, without the first 10 that have tests, in file order.",
            )
        },
    )

    def read(self, split: str, root: DataRoot) -> Iterator[Task | Refused]:
        (source,) = self.info.sources[split]
        with_tests = 0
        for number, row in enumerate(root.rows(source)):
            name = f"{'test' if split == 'test' else 'train'}-{row.get('problem_id', row.get('id', number))}"
            raw = (row.get("input_output") or "").strip()
            if not raw:
                if split != "fewshot":
                    yield Refused(name, "no tests")
                continue
            with_tests += 1
            if split != "test" and (with_tests <= _FEWSHOT) != (split == "fewshot"):
                continue
            tests = _tests(raw)
            yield Refused(name, tests) if isinstance(tests, str) else self._task(split, name, row, tests)

    def _task(self, split: str, name: str, row: Row, tests: dict[str, Any]) -> Task:
        return self.task(
            split,
            name,
            kind=str(row.get("difficulty") or "unknown"),
            group="function" if tests["fn_name"] else "stdin",
            prompt=prompt(row["question"], row.get("starter_code") or "", tests["fn_name"]),
            answer=tests,
            solution=_solution(row.get("solutions") or ""),
        )


def prompt(question: str, starter_code: str, function: str | None) -> str:
    """The problem, the starter code, and what is asked for."""
    parts = [question.strip()]
    if starter_code.strip():
        parts.append(f"Starter code:\n{starter_code.strip()}")
    if function:
        parts.append(f"Complete the starter code: write the function `{function}`.")
    else:
        parts.append("Write a program that reads standard input and prints the answer to standard output.")
    return "\n\n".join(parts)


def _tests(raw: str) -> dict[str, Any] | str:
    """The answer of a row, or why it has none."""
    try:
        tests = json.loads(raw)
    except (ValueError, RecursionError):  # ValueError: also an integer of more than 4,300 digits
        return "tests that do not parse"
    if not isinstance(tests, dict) or not isinstance(tests.get("inputs"), list):
        return "tests that do not parse"
    inputs, outputs = tests["inputs"], tests.get("outputs")
    if not inputs:
        return "no inputs"
    if not isinstance(outputs, list) or len(inputs) != len(outputs):
        return "not as many outputs as inputs"
    return {"inputs": inputs, "outputs": outputs, "fn_name": tests.get("fn_name"), "timeout_s": 10}


def _solution(raw: str) -> str:
    """The first published program that Python 3 parses; empty when there is none."""
    try:
        programs = json.loads(raw)
    except ValueError:
        return ""
    for program in programs if isinstance(programs, list) else ():
        try:
            ast.parse(program)
        except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
            continue
        return str(program)
    return ""


generate = Apps()
