"""Select: trajectories in the bank → training records.

Contract: a trajectory is kept, or dropped for one named reason; ``selection.json`` counts the reasons. Order, choice
and balance depend on ids alone: the same bank gives the same records. Records have the form of CodeActInstruct
(``docs/reference/files.md``). A turn whose cell failed is context with weight 0 by default, so that the model learns
the repair and not the mistake.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from rollout.files import write_atomically
from rollout.store import read_trajectories
from rollout.trajectory import Trajectory, digest_of


class SelectConfig(BaseModel):
    """Rules of the selection."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    successes_only: bool = True
    """Drop episodes that did not solve their task."""
    min_steps: int = Field(1, gt=0)
    """Drop shorter episodes (the paper keeps those of three turns and more)."""
    require_clean_cell: bool = True
    """Drop episodes in which no cell ran without an error (a rule of the paper)."""
    drop_duplicates: bool = True
    """Keep the first of several episodes with the same text."""
    max_per_task: int | None = Field(None, gt=0)
    """At most this many episodes of one task; those of the model come before those of the expert."""
    balance: float | None = Field(1.5, ge=1.0)
    """No kind has more than this many times the records of the rarest kind; null keeps all."""
    failed_cell_weight: float = Field(0.0, ge=0.0)
    """Loss weight of assistant turns whose cell failed."""
    reasoning: bool = False
    """Write the thinking that a server returned beside a turn before its text, between `<think>` and `</think>`."""


def select_records(bank: Path, records: Path, summary: Path, config: SelectConfig) -> dict[str, Any]:
    """Writes ``records.jsonl`` and ``selection.json``.

    Returns:
        The summary.

    Raises:
        ValueError: the bank is empty, every trajectory was dropped, or ``records`` was made or edited by hand.
    """
    _check_unchanged(records, summary)
    trajectories = list(read_trajectories(bank))
    if not trajectories:
        raise ValueError(f"select: there is no trajectory in {bank}; collect first")
    kept, dropped = choose(trajectories, config)
    if not kept:
        reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.most_common())
        raise ValueError(f"select: nothing is left of {len(trajectories)} trajectories ({reasons}); loosen `select`")
    report = _summary(trajectories, kept, dropped)
    text = "".join(json.dumps(to_record(t, config), ensure_ascii=False) + "\n" for t in kept)
    write_atomically(summary, json.dumps(report, indent=1) + "\n")
    # a kill between the next two lines leaves the former records, so both digests are known
    former = hashlib.sha256(records.read_bytes()).hexdigest() + "\n" if records.exists() else ""
    write_atomically(_digest_file(records), hashlib.sha256(text.encode()).hexdigest() + "\n" + former)
    write_atomically(records, text)
    return report


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


def choose(trajectories: Sequence[Trajectory], config: SelectConfig) -> tuple[list[Trajectory], Counter[str]]:
    """The trajectories to keep, and the number dropped for each reason."""
    dropped: Counter[str] = Counter()
    kept: list[Trajectory] = []
    seen: set[str] = set()
    per_task: Counter[str] = Counter()
    for trajectory in sorted(trajectories, key=lambda t: (t.model.startswith("expert"), t.id)):
        reason = _reject(trajectory, config, seen, per_task)
        if reason:
            dropped[reason] += 1
            continue
        seen.add(_words(trajectory))
        per_task[trajectory.task.digest] += 1
        kept.append(trajectory)
    if config.balance is not None:
        kept, surplus = _balance(kept, config.balance)
        dropped.update({"surplus of its kind": surplus} if surplus else {})
    return kept, dropped


def to_record(trajectory: Trajectory, config: SelectConfig) -> dict[str, Any]:
    """A training record: ``{"id", "source", "group", "conversations": [{"role", "content", "weight"?}]}``.

    The group is the task: all its episodes are held out together, or none.
    """
    turns: list[dict[str, Any]] = []
    for message, reply in zip(trajectory.messages, [*trajectory.messages[1:], None], strict=True):
        content = message.content
        if config.reasoning and message.reasoning:
            content = f"<think>\n{message.reasoning}\n</think>\n\n{content}"
        turn: dict[str, Any] = {"role": message.role, "content": content}
        if message.kind == "action" and reply and reply.cell and reply.cell.status != "ok":
            turn["weight"] = config.failed_cell_weight
        turns.append(turn)
    source = f"{trajectory.task.family}/{trajectory.task.kind}"
    task, name = trajectory.task.id, f"{trajectory.task.id}/{trajectory.id}"
    return {"id": name, "source": source, "group": task, "conversations": turns}


def _reject(trajectory: Trajectory, config: SelectConfig, seen: set[str], per_task: Counter[str]) -> str | None:
    """Why a trajectory is dropped, or None."""
    usage = trajectory.usage
    if config.successes_only and not trajectory.outcome.success:
        return f"not solved: {trajectory.outcome.reason}"
    if usage.steps < config.min_steps:
        return f"fewer than {config.min_steps} steps"
    if config.require_clean_cell and usage.cells - usage.error_cells < 1:
        return "no cell without an error"
    if config.drop_duplicates and _words(trajectory) in seen:
        return "duplicate"
    if config.max_per_task is not None and per_task[trajectory.task.digest] >= config.max_per_task:
        return "enough of its task"
    return None


def _words(trajectory: Trajectory) -> str:
    return digest_of([message.content for message in trajectory.messages])


def _balance(kept: Iterable[Trajectory], ratio: float) -> tuple[list[Trajectory], int]:
    """Drops records of the kinds that have too many, by their ids."""
    kinds: dict[str, list[Trajectory]] = defaultdict(list)
    for trajectory in kept:
        kinds[trajectory.task.kind].append(trajectory)
    limit = int(ratio * min(map(len, kinds.values()), default=0))
    balanced = [trajectory for members in kinds.values() for trajectory in members[:limit]]
    surplus = sum(len(members) for members in kinds.values()) - len(balanced)
    return sorted(balanced, key=lambda t: t.id), surplus


def _summary(everything: Sequence[Trajectory], kept: Sequence[Trajectory], dropped: Counter[str]) -> dict[str, Any]:
    kinds, kept_kinds = Counter(t.task.kind for t in everything), Counter(t.task.kind for t in kept)
    models, kept_models = Counter(t.model for t in everything), Counter(t.model for t in kept)
    solved = Counter(t.model for t in everything if t.outcome.success)
    return {
        "input": len(everything),
        "kept": len(kept),
        "dropped": dict(dropped.most_common()),
        "by_kind": {kind: {"input": n, "kept": kept_kinds[kind]} for kind, n in sorted(kinds.items())},
        "by_model": {
            model: {"episodes": n, "successes": solved[model], "kept": kept_models[model]}
            for model, n in sorted(models.items())
        },
    }
