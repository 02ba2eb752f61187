"""Tasks of one's own without a family: JSON Lines in a folder, with a grader by name or a function of this file."""

import json
import sys
import tempfile
from pathlib import Path

from rollout import TaskSet, load_tasks
from rollout.checks.validate import table, validate_family
from rollout.families import data_family

TASKS = [
    {"id": "sum", "prompt": "What is the sum of `numbers`?", "answer": "6", "setup": "numbers = [1, 2, 3]"},
    {"id": "word", "prompt": "Rearrange `listen`.", "answer": "silent", "grader": "own_tasks:same_letters"},
    {"id": "none", "prompt": "What is not known?", "answer": None},
]


def same_letters(proposed: str, reference: str) -> bool:
    """A grader is a function of the proposed answer and the reference."""
    return sorted(proposed.strip().lower()) == sorted(reference)


def main() -> None:
    sys.path.append(str(Path(__file__).parent))  # `codeact` looks for modules in the current folder too
    with tempfile.TemporaryDirectory() as folder:
        lines = [json.dumps(task) for task in TASKS]
        (Path(folder) / "train.jsonl").write_text("\n".join(lines))
        options = {"grader": "number"}  # for tasks that name no grader
        tasks = load_tasks(TaskSet(family="folder", data_root=Path(folder), options=options))
        print([task.id for task in tasks])  # → ['sum', 'word']
        family = data_family("folder").with_options(options)
        print(table(list(validate_family(family, data_root=Path(folder)))))  # → | 2 | 1 no answer | 2 of 2 | 6 of 6 |


if __name__ == "__main__":
    main()
