"""Word problems beside GSM8K: SVAMP, MAWPS and GSM-Hard, each with one number as the answer."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar

from rollout.families.base import Task
from rollout.families.data import DataFamily, DataRoot, DataSource, FamilyInfo, Refused

_ADDRESS = "https://raw.githubusercontent.com/microsoft/ToRA/213c1c995038c73fab10343814df7a42f990f026/src/data"
_FILES = {
    "svamp": ("svamp", "d0826ff1264f3860e46fc4e71db9e31d2d188960db87090e22677f9493e67a0d"),
    "mawps": ("mawps", "00ffe31161be8623a3d36741830edbba87a3aee0109f693810fe40b9d5d91b8b"),
    "gsm_hard": ("gsm-hard", "45db606263a4902580aba3974e8b7fb3f66012877889209af206b1c1b2f208f5"),
}


class MathWordProblems(DataFamily):
    """Each data set is a split; the kind is the type of problem that the data set names."""

    name: ClassVar[str] = "math_word_problems"
    info: ClassVar[FamilyInfo] = FamilyInfo(
        title="SVAMP (Patel et al., 2021), MAWPS (Koncel-Kedziorski et al., 2016), GSM-Hard (Gao et al., 2022)",
        licence="MIT",
        splits={
            "svamp": "1,000 problems of SVAMP",
            "mawps": "2,065 problems of MAWPS",
            "gsm_hard": "1,319 problems of GSM8K's test split with large numbers",
        },
        sources={
            split: (
                DataSource(
                    (f"math_other/{file}.jsonl.gz", f"math_other/{file}.jsonl"),
                    f"{_ADDRESS}/{file}/test.jsonl",
                    sha256,
                ),
            )
            for split, (file, sha256) in _FILES.items()
        },
        grader="number",
        defects=(
            "GSM-Hard replaces one number of each problem of GSM8K by a large one, so some answers make no sense, such "
            "as a negative number of eggs. They are used as published.",
            "GSM-Hard shares its wording with GSM8K's test split: do not train on it and evaluate there.",
        ),
    )

    def read(self, split: str, root: DataRoot) -> Iterator[Task | Refused]:
        (source,) = self.info.sources[split]
        for number, row in enumerate(root.rows(source)):
            name = f"{split}-{row.get('idx', number)}"
            question = row.get("input") or f"{row['Body'].strip()} {row['Question'].strip()}"
            answer = plain_number(row.get("target", row.get("Answer")))
            if answer is None:
                yield Refused(name, "no number as the answer")
                continue
            yield self.task(
                split,
                name,
                kind=str(row.get("type") or row.get("Type") or split).lower(),
                prompt=question.strip(),
                answer=answer,
            )


def plain_number(value: Any) -> str | None:
    """``43`` for 43.0, the shortest decimal for other numbers; None for what is no finite number."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    if not math.isfinite(number):
        return None
    return str(int(number)) if number.is_integer() and abs(number) < 2**53 else repr(number)


generate = MathWordProblems()
