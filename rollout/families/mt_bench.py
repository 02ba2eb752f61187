"""MT-Bench: 80 questions in eight categories, each followed by a second one, rated by a judge (arXiv 2306.05685).

Contract: the kind of a task is its category. The judge gets reference answers to reasoning, mathematics and coding, as
in the original, in which GPT-4 wrote them. ``test`` prefers the answers that the authors of the questions wrote;
``test-reference`` has those of the original. The answer of a task holds its questions and references, for the judge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from rollout.families.base import Demonstration, Task
from rollout.families.data import DataFamily, DataRoot, DataSource, FamilyInfo, Refused
from rollout.families.data.rows import Row

REFERENCE = "test-reference"
REFERENCED = ("reasoning", "math", "coding")
"""Categories whose answers are compared with a reference."""
_ADDRESS = "https://raw.githubusercontent.com/lm-sys/FastChat/0e6d3e4beaab66f4d3f93db72541a4abab8af28d/fastchat/llm_judge/data/mt_bench"
_SOURCES = (
    DataSource(
        ("mt_bench/question.jsonl",),
        f"{_ADDRESS}/question.jsonl",
        "119565adbab82227089cefdb44c8d7e2cf04dc0a0ec233634c82e7d4e2a944f7",
    ),
    DataSource(
        ("mt_bench/reference_answer_gpt-4.jsonl", "mt_bench/reference_answer/gpt-4.jsonl"),
        f"{_ADDRESS}/reference_answer/gpt-4.jsonl",
        "f957a5bc977badb66885ec970e6cd08527845780313f0995764260e5777b9b3f",
    ),
)
_NO_TEXTS = ("", "")


class MtBench(DataFamily):
    """One task a question with its second question; 10 a category."""

    name: ClassVar[str] = "mt_bench"
    info: ClassVar[FamilyInfo] = FamilyInfo(
        title="MT-Bench (Zheng et al., 2023)",
        licence="Apache-2.0",
        splits={
            "test": "80 questions of two turns; the authors' reference answers, else GPT-4's",
            REFERENCE: "the same questions; GPT-4's reference answers, as in the original",
        },
        sources=dict.fromkeys(("test", REFERENCE), _SOURCES),
        grader="rating",
        protocol="conversation",
        defects=(
            "GPT-4 wrote the reference answers that the judge gets. Of its 40 to reasoning and mathematics, 11 are "
            "wrong (questions 104, 105, 107, 109, 111, 113, 114 and 120), so that right answers are marked down. The "
            "authors' own short answers are in the same file and reach no judge. `test` takes theirs where they wrote "
            "one, in 55 of 60 cases; `test-reference` has GPT-4's.",
        ),
    )

    def read(self, split: str, root: DataRoot) -> Iterator[Task | Refused]:
        questions, answers = self.info.sources[split]
        by_gpt4 = {row.get("question_id"): _answered(row) for row in root.rows(answers)}
        for row in root.rows(questions):
            name, asked = str(row.get("question_id")), _two_texts(row.get("turns"))
            if asked is None:
                yield Refused(name, "no two questions")
                continue
            references: tuple[str, ...] = ()
            if row.get("category") in REFERENCED:
                theirs = by_gpt4.get(row["question_id"]) or _NO_TEXTS
                own = _NO_TEXTS if split == REFERENCE else _two_texts(row.get("reference")) or _NO_TEXTS
                references = tuple(one.strip() or other for one, other in zip(own, theirs, strict=True))
                if not all(references):
                    yield Refused(name, "no reference answer")
                    continue
            yield self.task(
                split,
                name,
                kind=row.get("category"),
                prompt=asked[0],
                followups=asked[1:],
                answer={"questions": asked, "references": references},
                expert=Recites(references) if references else None,
            )


@dataclass(frozen=True)
class Recites:
    """The expert of a question with reference answers: it says them, one a turn."""

    answers: tuple[str, ...]

    def __call__(self, make_mistake: bool) -> Demonstration:
        """The answers; it makes no mistakes."""
        for answer in self.answers:  # noqa: UP028  # a tuple takes no questions
            yield answer

    def in_form(self, form: str) -> Callable[[bool], Demonstration] | None:
        """The expert under protocols of the form ``answer``; None under others."""
        return self.__call__ if form == "answer" else None

    def wrong_experts(self) -> list[Recites]:
        """Experts that know nothing, that answer nothing, and that rate themselves."""
        texts = ("I do not know.", "", "Rating: [[10]]")
        return [Recites((text,) * len(self.answers)) for text in texts]

    def wrong_turns(self, form: str) -> list[str]:
        """None: a single turn is no conversation."""
        return []


def _answered(row: Row) -> tuple[str, str] | None:
    choices = row.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return _two_texts(first.get("turns")) if isinstance(first, dict) else None


def _two_texts(value: Any) -> tuple[str, str] | None:
    """A list of two texts; None for anything else."""
    if isinstance(value, list) and len(value) == 2 and all(isinstance(text, str) for text in value):
        return value[0], value[1]
    return None


generate = MtBench()
