"""The agents of the battery, by where they attack."""

from __future__ import annotations

from eval.forging.agents import answer_texts, endings, hosts, judged_code, judges, kernels, states, tools

AGENTS = (
    *answer_texts.AGENTS, *kernels.AGENTS, *hosts.AGENTS, *tools.AGENTS, *judged_code.AGENTS, *states.AGENTS,
    *judges.AGENTS, *endings.AGENTS,
)  # fmt: skip
"""In the order of the table."""
