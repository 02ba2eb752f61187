"""Figures of the paper's collection, from which estimates are made (published run notebooks; appendix G.1).

Measured there for gpt-3.5-turbo-0613 over 21,868 tasks: 141.9 million tokens, 131.1 million of them in prompts; 9,500
tokens a task of APPS and 7,900 of ALFWorld. The other families share the rest evenly: (141.9e6 - 4,439 x 9,500 -
3,553 x 7,900) / 13,876 = 5,165 tokens a task.
"""

from __future__ import annotations

SOURCE = "the paper's gpt-3.5-turbo-0613: 141.9 M tokens, 131.1 M of them prompts, over 21,868 tasks"
TOKENS, PROMPT_TOKENS, TASKS = 141.9e6, 131.1e6, 21_868

PAPER_TASKS = {
    "alfworld": 3553,
    "apps": 4439,
    "hotpotqa": 3000,
    "math": 5586,
    "strategyqa": 2290,
    "wikitablequestions": 3000,
}
"""Family → tasks that the paper generated with."""

PAPER_KINDS = {
    "math": {
        "algebra": 1226,
        "counting_and_probability": 602,
        "geometry": 727,
        "intermediate_algebra": 1070,
        "number_theory": 691,
        "prealgebra": 750,
        "precalculus": 520,
    }
}
"""Family → kind → tasks of the paper, where a source may take some kinds only."""

UNSOLVED = {
    "alfworld": 786,
    "apps": 2003,
    "hotpotqa": 1108,
    "math": 2699,
    "strategyqa": 29,
    "wikitablequestions": 1010,
}
"""Family → those of them that none of its three first models solved."""

_MEASURED = {"apps": 9500.0, "alfworld": 7900.0}
_REST = (TOKENS - sum(PAPER_TASKS[family] * per_task for family, per_task in _MEASURED.items())) / (
    TASKS - sum(PAPER_TASKS[family] for family in _MEASURED)
)


def tokens_per_episode(family: str) -> tuple[float, float]:
    """Estimated tokens of prompts and of completions in an episode of a family; of others, as the rest of the paper."""
    total = _MEASURED.get(family, _REST)
    return total * PROMPT_TOKENS / TOKENS, total * (1 - PROMPT_TOKENS / TOKENS)


def unsolved_share(family: str) -> float:
    """Estimated share of a family's tasks that the first teachers do not solve."""
    if family in UNSOLVED:
        return UNSOLVED[family] / PAPER_TASKS[family]
    return sum(UNSOLVED.values()) / TASKS
