"""TheoremQA: questions that need a theorem, with typed answers (arXiv 2305.12524)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any, ClassVar

from rollout.families.base import Task
from rollout.families.data import DataFamily, DataRoot, DataSource, FamilyInfo, Refused, mint_source

_FILE = DataSource(
    ("theoremqa/theoremqa_test.json.gz", "theoremqa/theoremqa_test.json"),
    "https://raw.githubusercontent.com/TIGER-AI-Lab/TheoremQA/acfc9686aa9b49f3c8f189364a9a9ee9c53da039/"
    "theoremqa_test.json",
    "4a3c8683534cd1866491d309d16e2e4d79e8110bd503c91b5c4fecaa0f3744c8",
    hub="TIGER-Lab/TheoremQA",
    hub_split="test",
)
_FORMS = {
    "bool": "True or False",
    "integer": "an integer",
    "float": "a number",
    "list of integer": "a list of integers, such as [1, 2, 3]",
    "list of float": "a list of numbers, such as [0.5, 1.25]",
    "option": "the letter of an option, such as (a)",
}


class TheoremQA(DataFamily):
    """The kind is the field (Math, EECS, Physics, Finance); the answer holds its type."""

    name: ClassVar[str] = "theoremqa"
    info: ClassVar[FamilyInfo] = FamilyInfo(
        title="TheoremQA (Chen et al., 2023)",
        licence="MIT",
        splits={
            "test": "800 questions; the 53 with a picture are refused",
            "pictures": "those 53 without their picture, which a model of text cannot answer; to check the grader",
            "mint": "49 questions of `test` that MINT uses",
        },
        sources={"test": (_FILE,), "pictures": (_FILE,), "mint": (mint_source("theoremqa"),)},
        grader="theoremqa",
        defects=(
            "One question occurs twice; both are kept, since their ids differ.",
            "The form of the answer is not part of the question; the prompt names it.",
        ),
    )

    def read(self, split: str, root: DataRoot) -> Iterator[Task | Refused]:
        (source,) = self.info.sources[split]
        for number, row in enumerate(root.rows(source)):
            if split == "mint":
                question = row["prompt"].partition(" Output format required:")[0]
                yield self._task(split, str(row["id"]), "mint", question, row["reference"], row["answer_type"])
                continue
            name, picture = row.get("id") or f"test-{number}", bool(row.get("Picture"))
            answer = _value(row.get("Answer"))
            if picture and split == "test":
                yield Refused(name, "needs a picture")
            elif answer is None or row.get("Answer_type") not in _FORMS:
                yield Refused(name, "no answer of a known type")
            elif picture == (split == "pictures"):
                kind = str(row.get("field", "unknown")).lower()
                yield self._task(split, name, kind, row["Question"], answer, row["Answer_type"])

    def _task(self, split: str, name: str, kind: str, question: str, answer: Any, form: str) -> Task:
        return self.task(
            split,
            name,
            kind=kind,
            prompt=f"{question.strip()}\n\nAnswer with {_FORMS[form]}.",
            answer={"answer": answer, "type": form},
        )


def _value(answer: Any) -> Any:
    """The answer as a value; the hub holds it as the text of one."""
    if not isinstance(answer, str):
        return answer
    try:
        return ast.literal_eval(answer)
    except (ValueError, SyntaxError):
        return answer


generate = TheoremQA()
