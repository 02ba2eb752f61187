"""A task family over a data set: one class that reads rows. Here, capitals in a CSV file, checked without a model."""

import csv
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rollout import TASK_FAMILIES, DataFamily, DataRoot, DataSource, FamilyInfo, Refused, Task, TaskSet, load_tasks
from rollout.checks.validate import table, validate_family

ROWS = "country,capital\nFrance,Paris\nKenya,Nairobi\nAtlantis,\n"


class Capitals(DataFamily):
    """One task a row."""

    name = "capitals"
    info = FamilyInfo(
        title="Capitals of countries",
        licence="CC0",
        splits={"test": "3 countries"},
        sources={"test": (DataSource(("capitals/test.csv",), url="https://example.org/capitals.csv"),)},
        grader="short_answer",
    )

    def read(self, split: str, root: DataRoot) -> Iterator[Task | Refused]:
        (source,) = self.info.sources[split]
        for number, row in enumerate(csv.DictReader(root.text(source).splitlines())):
            name = f"{split}-{number}"
            if not row["capital"]:
                yield Refused(name, "no capital")  # counted by reason and shown, never silently dropped
                continue
            yield self.task(split, name, f"What is the capital of {row['country']}?", row["capital"], kind="capital")


def main() -> None:
    TASK_FAMILIES.add("capitals", Capitals())  # a package registers it as an entry point instead
    with tempfile.TemporaryDirectory() as root:
        (Path(root) / "capitals").mkdir()
        (Path(root) / "capitals" / "test.csv").write_text(ROWS)
        tasks = load_tasks(TaskSet(family="capitals", split="test", count=None, data_root=Path(root)))
        print(tasks[1].prompt, tasks[1].answer)  # → What is the capital of Kenya? Nairobi
        print(table(list(validate_family(Capitals(), data_root=Path(root)))))  # → | 2 | 1 no capital | 2 of 2 |


if __name__ == "__main__":
    main()
