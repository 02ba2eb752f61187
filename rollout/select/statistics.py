"""Statistics of a collection and of its records, as in the paper's tables 4 and A (success per generator).

Contract: the tokens of a record are those of the texts of its turns, without a chat template. The family of a record is
the first part of its ``source``.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rollout.bank.trajectory import Trajectory

CountTokens = Callable[[Sequence[str]], list[int]]
"""Texts → the number of tokens of each."""
_BATCH = 1000


def success_table(everything: Iterable[Trajectory]) -> dict[str, dict[str, dict[str, int]]]:
    """Family → model → episodes and successes."""
    episodes: Counter[tuple[str, str]] = Counter()
    solved: Counter[tuple[str, str]] = Counter()
    for trajectory in everything:
        key = (trajectory.task.family, trajectory.model)
        episodes[key] += 1
        solved[key] += trajectory.outcome.success
    table: dict[str, dict[str, dict[str, int]]] = defaultdict(dict)
    for family, model in sorted(episodes):
        key = (family, model)
        table[family][model] = {"episodes": episodes[key], "successes": solved[key]}
    return dict(table)


def token_table(records: Iterable[dict[str, Any]], count: CountTokens | None) -> dict[str, dict[str, Any]]:
    """Family → ``instances``, ``turns`` and, with a tokenizer, ``tokens`` and ``average``; ``total`` comes last."""
    table: dict[str, Counter[str]] = defaultdict(Counter)
    batch: list[tuple[str, str]] = []
    for record in records:
        family = str(record.get("source") or "unknown").split("/")[0]
        turns = record["conversations"]
        table[family].update(instances=1, turns=len(turns))
        batch += [(family, turn["content"]) for turn in turns] if count else []
        if len(batch) >= _BATCH:
            _add_tokens(table, batch, count)
            batch = []
    _add_tokens(table, batch, count)
    rows = {family: table[family] for family in sorted(table)}
    rows["total"] = sum(table.values(), Counter())
    return {name: _row(counts, with_tokens=count is not None) for name, counts in rows.items()}


def _add_tokens(table: dict[str, Counter[str]], batch: list[tuple[str, str]], count: CountTokens | None) -> None:
    if count and batch:
        for (family, _), tokens in zip(batch, count([text for _, text in batch]), strict=True):
            table[family]["tokens"] += tokens


def _row(counts: Counter[str], *, with_tokens: bool) -> dict[str, Any]:
    row: dict[str, Any] = {"instances": counts["instances"], "turns": counts["turns"]}
    if with_tokens:
        row |= {"tokens": counts["tokens"], "average": round(counts["tokens"] / max(counts["instances"], 1), 2)}
    return row
