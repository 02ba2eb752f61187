"""Writes a bank in a form of :data:`FORMS`. The file appears whole or not at all."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rollout.bank.files import write_atomically
from rollout.bank.store import read_trajectories
from rollout.bank.trajectory import Trajectory
from rollout.postprocess.exports.groups import best_rows, group_rows, labelled_rows
from rollout.postprocess.exports.preference import Completion, Row, preference_rows

FORMS = {
    "dpo": "preference pairs: prompt, chosen, rejected",
    "grpo": "groups: prompt, sampled_completions, sampled_rewards",
    "kto": "labelled episodes: prompt, completion, label",
    "sft": "the best episodes of each task: messages",
}
"""Name → what a row holds."""


@dataclass
class Export:
    """What was written, and what was left out by reason."""

    rows: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


def export_bank(
    banks: Iterable[Path], form: str, out: Path, *, completion: Completion = "turn", most_per_task: int = 4
) -> Export:
    """Writes the episodes of banks as JSON Lines.

    Args:
        form: a name of :data:`FORMS`.
        completion: of ``dpo``: the turn in which two episodes differ, or everything from there on.
        most_per_task: of ``dpo`` pairs, of ``sft`` episodes of a task.

    Raises:
        ValueError: the form does not exist, or nothing in the banks has it.
    """
    if form not in FORMS:
        raise ValueError(f"bank export: {form!r} is not a form; choose from: {', '.join(FORMS)}")
    export = Export()
    everything = []
    for one in (one for bank in banks for one in read_trajectories(bank) if not one.lost):
        if any(message.tool_calls for message in one.messages):
            export.left_out["episodes with native calls, which these forms do not have"] += 1
        else:
            everything.append(one)
    lines = []
    for row in _rows(form, everything, completion, most_per_task, export.left_out):
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    export.rows = len(lines)
    export.left_out = +export.left_out
    if not lines:
        reasons = ", ".join(f"{count} {reason}" for reason, count in export.left_out.most_common()) or "it is empty"
        raise ValueError(
            f"bank export: {len(everything)} episodes give no row of the form {form} ({reasons}); collect several "
            "episodes of a task with collect.sources.samples"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, "".join(lines))
    return export


def _rows(
    form: str, everything: list[Trajectory], completion: Completion, most: int, left_out: Counter[str]
) -> Iterator[Row]:
    if form == "dpo":
        return preference_rows(everything, completion, most, left_out)
    if form == "grpo":
        return group_rows(everything, 2, left_out)
    if form == "kto":
        return labelled_rows(everything, left_out)
    return best_rows(everything, most, left_out)
