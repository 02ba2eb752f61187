"""MATH: competition problems with an answer in LaTeX (arXiv 2103.03874)."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from typing import ClassVar

from rollout.families.base import Task
from rollout.families.data import DataFamily, DataRoot, DataSource, FamilyInfo, Preset, Refused, mint_source
from rollout.families.data.rows import Row

_TORA = "https://raw.githubusercontent.com/microsoft/ToRA/213c1c995038c73fab10343814df7a42f990f026/src/data/math"
_TEST_SHA256 = "3371949f33dd702d04b43fddd7d53a028de0aaca0e76abb1b875a050297b3aa4"
_BOX = re.compile(r"\\(?:boxed|fbox)\s*")
_PAPER_LEVELS = {"level-3", "level-4", "level-5"}
_HALVES = {"half_train": 0, "half_heldout": 1}


def _source(split: str, sha256: str) -> DataSource:
    """The file of a split of the original: one file of rows, the authors' folder or their archive."""
    return DataSource(
        (f"math/{split}.jsonl.gz", f"math/{split}.jsonl", f"math/{split}", f"MATH/{split}", "MATH.tar"),
        f"{_TORA}/{split}.jsonl",
        sha256,
        hub="DigitalLearningGmbH/MATH-lighteval",
        hub_config="default",
        hub_split=split,
    )


class Math(DataFamily):
    """The answer is the last box of the solution. The kind is the subject, the group the level (``level-3``)."""

    name: ClassVar[str] = "math"
    info: ClassVar[FamilyInfo] = FamilyInfo(
        title="MATH (Hendrycks et al., 2021)",
        licence="MIT",
        splits={
            "train": "7,500 problems, from the authors' archive",
            "test": "5,000 problems",
            "half_train": "the half of `test` whose content hashes to 0, for a machine without the training problems",
            "half_heldout": "the other half of `test`",
            "mint": "100 problems of `test` that MINT uses, with the number as the answer",
        },
        sources={
            "train": (_source("train", ""),),
            **{split: (_source("test", _TEST_SHA256),) for split in ("test", *_HALVES)},
            "mint": (mint_source("math"),),
        },
        grader="math",
        graders={"mint": "short_answer"},
        defects=(
            "Ids of the paper's tasks depend on the order in which the file system lists seven files; here they are "
            "`SPLIT-N`, or the path of the problem in the authors' archive.",
            "The grader's thread is left running after its limit of 10 s; `math` runs in a process that is killed.",
            "`half_train` and `half_heldout` are for a machine that has the test problems only. Do not train on "
            "`half_train` and evaluate on `test` or `mint`.",
        ),
        presets={
            "paper": Preset(
                "train",
                5586,
                "Levels 3 to 5. The paper's order follows the order of seven files that the file system lists, which "
                "differs between machines; here it is by subject, then by id.",
            )
        },
    )

    def read(self, split: str, root: DataRoot) -> Iterator[Task | Refused]:
        (source,) = self.info.sources[split]
        if split == "mint":
            for row in root.rows(source):
                yield self._task(split, str(row["id"]), row["prompt"], row["reference"], "mint", split)
            return
        for name, row in _rows(root, source, "train" if split == "train" else "test"):
            if split in _HALVES and half(row["problem"]) != _HALVES[split]:
                continue
            answer = boxed(row.get("solution") or "")
            if answer is None:
                yield Refused(name, "no answer in a box")
                continue
            level = str(row.get("level", "")).lower().replace(" ", "-") or "level-?"
            yield self._task(split, name, row["problem"], answer, kind_of(row.get("type", "")), level)

    def read_preset(self, preset: str, root: DataRoot) -> Iterator[Task | Refused]:
        """The paper's choice: problems of level 3 and more, by subject and id."""
        rows = list(self.read(self.info.presets[preset].split, root))
        yield from (row for row in rows if isinstance(row, Refused))
        hard = [row for row in rows if isinstance(row, Task) and row.group in _PAPER_LEVELS]
        yield from sorted(hard, key=lambda task: (task.kind, len(task.id), task.id))

    def _task(self, split: str, name: str, prompt: str, answer: str, kind: str, group: str) -> Task:
        return self.task(
            split,
            name,
            kind=kind,
            group=group,
            prompt=prompt,
            answer=answer,
        )


def _rows(root: DataRoot, source: DataSource, half_of: str) -> Iterator[tuple[str, Row]]:
    """Id and row of each problem: of one file of rows, or of an archive with one JSON file a problem."""
    path = root.find(source)
    if path.name == "MATH.tar" or (path.is_dir() and not any(path.glob("*.*"))):
        for name, content in root.members(source):
            if name.endswith(".json") and (path.is_dir() or f"/{half_of}/" in f"/{name}"):
                yield "/".join([half_of, *name.removesuffix(".json").split("/")[-2:]]), json.loads(content)
        return
    for number, row in enumerate(root.rows(source)):
        yield f"{half_of}-{row.get('idx', number)}", row


def half(problem: str) -> int:
    """The half that a problem's content hashes to, 0 or 1."""
    return hashlib.sha256(problem.encode()).digest()[0] & 1


def kind_of(subject: str) -> str:
    """``counting_and_probability`` for ``Counting & Probability``."""
    return subject.lower().replace("&", "and").replace(" ", "_") or "unknown"


def boxed(solution: str) -> str | None:
    r"""The content of the last ``\boxed{...}`` or ``\fbox{...}``, or what follows ``\boxed `` without braces.

    None when there is none, or when its braces do not close.
    """
    found = list(_BOX.finditer(solution))
    if not found:
        return None
    rest = solution[found[-1].end() :]
    if not rest.startswith("{"):
        return rest.partition("$")[0].strip().rstrip(".") or None
    depth = 0
    for at, character in enumerate(rest):
        escaped = rest[at - 1 : at] == "\\"
        depth += (character == "{" and not escaped) - (character == "}" and not escaped)
        if depth == 0:
            return rest[1:at].strip() or None
    return None


generate = Math()
