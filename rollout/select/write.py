"""Select: trajectories in the bank → training records.

Contract: every trajectory is kept, or dropped for one named reason; ``selection.json`` counts the reasons. With tiers,
``hard_tasks.jsonl`` lists the tasks that no model has solved, in the form that ``tasks.only`` reads. Files appear
complete or not at all, and records that a person edited are never replaced. The same bank and rules give the same
files.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rollout.bank.files import write_atomically
from rollout.bank.store import read_trajectories
from rollout.bank.trajectory import Trajectory
from rollout.families import task_list_lines
from rollout.select.choose import Choice, choose_episodes
from rollout.select.config import SelectConfig
from rollout.select.form import to_records
from rollout.select.statistics import CountTokens, success_table, token_table

HARD_TASKS = "hard_tasks.jsonl"
"""Name of the list of unsolved tasks, beside the records."""


def select_records(
    bank: Path, records: Path, summary: Path, config: SelectConfig, count_tokens: CountTokens | None = None
) -> dict[str, Any]:
    """Writes ``records.jsonl`` and ``selection.json`` and, with tiers, ``hard_tasks.jsonl`` beside the records.

    Args:
        bank: folder of trajectories.
        records: file to write.
        summary: file to write.
        config: the rules.
        count_tokens: tokenizer of the statistics.

    Returns:
        The summary.

    Raises:
        ValueError: the bank is empty, every trajectory was dropped, or ``records`` was made or edited by hand.
    """
    _check_unchanged(records, summary)
    trajectories = list(read_trajectories(bank))
    if not trajectories:
        raise ValueError(f"select: there is no trajectory in {bank}; collect first")
    choice = choose_episodes(trajectories, config)
    if choice.tiers:  # a first round that solved nothing still says what a stronger model should try
        write_atomically(records.with_name(HARD_TASKS), task_list_lines(choice.tiers.hard_tasks))
    if not choice.kept:
        reasons = ", ".join(f"{count} {reason}" for reason, count in choice.dropped.most_common())
        raise ValueError(f"select: nothing is left of {len(trajectories)} trajectories ({reasons}); loosen `select`")
    made = to_records(choice.kept, config)
    report = _summary(trajectories, choice)
    if config.statistics:
        report["success"] = success_table(trajectories)
        report["statistics"] = token_table(made, count_tokens)
    text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in made)
    write_atomically(summary, json.dumps(report, indent=1) + "\n")
    # a kill between the next two lines leaves the former records, so both digests are known
    former = hashlib.sha256(records.read_bytes()).hexdigest() + "\n" if records.exists() else ""
    write_atomically(_digest_file(records), hashlib.sha256(text.encode()).hexdigest() + "\n" + former)
    write_atomically(records, text)
    return report


def choose(trajectories: Sequence[Trajectory], config: SelectConfig) -> tuple[list[Trajectory], Counter[str]]:
    """The trajectories to keep, and the number dropped for each reason."""
    choice = choose_episodes(trajectories, config)
    return choice.kept, choice.dropped


def _check_unchanged(records: Path, summary: Path) -> None:
    """Raises ``ValueError`` when ``records`` holds a person's work: it was made or edited by hand.

    Files of earlier versions have no digest beside them; their summary shows that they were selected.
    """
    if not records.exists():
        return
    digest = _digest_file(records)
    if digest.exists():
        unchanged = hashlib.sha256(records.read_bytes()).hexdigest() in digest.read_text(encoding="utf-8").split()
    else:
        unchanged = summary.exists()
    if not unchanged:
        raise ValueError(
            f"select: {records} was made or edited by hand and would be replaced; give it another name and put that "
            "into prepare.sources, or remove it"
        )


def _digest_file(records: Path) -> Path:
    return records.with_name(f".{records.name}.sha256")


def _summary(everything: Sequence[Trajectory], choice: Choice) -> dict[str, Any]:
    kept = choice.kept
    kinds, kept_kinds = Counter(t.task.kind for t in everything), Counter(t.task.kind for t in kept)
    models, kept_models = Counter(t.model for t in everything), Counter(t.model for t in kept)
    solved = Counter(t.model for t in everything if t.outcome.success)
    return {
        "input": len(everything),
        "kept": len(kept),
        "dropped": dict(choice.dropped.most_common()),
        "by_kind": {kind: {"input": n, "kept": kept_kinds[kind]} for kind, n in sorted(kinds.items())},
        "by_model": {
            model: {"episodes": n, "successes": solved[model], "kept": kept_models[model]}
            for model, n in sorted(models.items())
        },
        **choice.notes,
    }
