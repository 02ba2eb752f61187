"""API-Bank, levels 1 and 2 (arXiv 2304.08244), as the paper's Table 2 measures it: calls in code, JSON and text."""

from __future__ import annotations

from eval.benchmarks.spec import BenchmarkSpec
from rollout import TaskSet

_PROTOCOLS = {"code": "apibank-code", "json": "apibank-json", "text": "apibank-text"}
_DEFECTS = (
    "The reference leaves the temperature to the server's default; it is 0 here.",
    "The reference scores 10 of the 389 calls twice; they count once here. Tasks of the split `level1-reference` have "
    "its 399.",
    "The reference reads code with regular expressions; here it is run, and exactly one call must be made. The "
    "reference's verdict is kept beside ours with `workers.legacy_verdicts`.",
    "The reference calls on databases without the earlier calls of the dialogue; here they have been made.",
    "The reference ends a prompt with a turn of the assistant, and calls have the role of the system; here user and "
    "assistant speak in turn. `protocol.instructions_role: user` is for templates without a system role.",
    "The APIs of a prompt are in the order of a Python set in the original, which changes between runs; here by name.",
)

level1 = BenchmarkSpec(
    title="API-Bank, level 1: call an API that is described (Li et al., 2023)",
    licence="Apache-2.0",
    tasks=TaskSet(family="apibank", split="level1", count=None),
    protocols=_PROTOCOLS,
    size=389,
    defects=_DEFECTS,
)
"""389 calls of 214 dialogues."""

level2 = BenchmarkSpec(
    title="API-Bank, level 2: find an API, then call it (Li et al., 2023)",
    licence="Apache-2.0",
    tasks=TaskSet(family="apibank", split="level2", count=None),
    protocols=_PROTOCOLS,
    size=119,
    defects=(
        *_DEFECTS,
        "`ToolSearcher` compares embeddings in the original; here the recorded searches have their results, and others "
        "get the tool with most words in common.",
    ),
)
"""119 calls of 50 dialogues."""
