"""The evaluation subsets of MINT (arXiv 2309.10691): splits ``mint`` of the families they were drawn from.

The id of a task is that of MINT's recorded runs. The code that graded those runs has rules of its own, so a split may
have another grader than its family.
"""

from __future__ import annotations

from rollout.families.data.source import DataSource

_ADDRESS = (
    "https://raw.githubusercontent.com/xingyaoww/mint-bench/1b1ff15f34a98cc803c8b5020ea1b88ab2e68612/data/processed"
)


def mint_source(name: str) -> DataSource:
    """The file of a subset, such as ``gsm8k``."""
    return DataSource((f"mint/{name}.jsonl.gz", f"mint/{name}.jsonl"), f"{_ADDRESS}/{name}/test_prompts.json")
