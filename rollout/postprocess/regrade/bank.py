"""Judges the stored answers of a bank again, with the same or another grader.

Contract: the old bank is only read. A new bank, if one is asked for, appears complete or not at all; its records have
the ids and messages of the old ones, and the verdicts, the outcome and ``grading`` of this judgement. No verdict never
becomes a failure: the record keeps its outcome and is counted. Records without an answer (games, episodes that failed
before one) are copied. Cost: one pass; an episode of a light grader takes about 0.1 ms, most of it to read and write.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from rollout.bank.store import read_trajectories, write_bank
from rollout.bank.trajectory import GivenVerdict, Grading, Outcome, TaskRef, Trajectory
from rollout.graders import judge
from rollout.protocol import parse_tags
from rollout.registry import GRADERS

_VALUE = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|-?\d[\d.,e+/-]*|\S*\d\S*")
_BATCH = 2_000
_EXAMPLES = 5
Reference = tuple[str, str]
"""A grader's name and the reference that it reads."""
FindReference = Callable[[TaskRef], Reference | None]


@dataclass
class Changes:
    """What a judgement changed.

    Attributes:
        episodes: records of the bank.
        graded: records with a verdict on each answer.
        kept: verdict → records whose success is as before.
        changed: (change, grader, kind of reason) → ids of the records.
        not_graded: reason → number of records that are as before.
        legacy: (our verdict, the reference system's) → number of answers.
    """

    episodes: int = 0
    graded: int = 0
    kept: Counter[str] = field(default_factory=Counter)
    changed: dict[tuple[str, str, str], list[str]] = field(default_factory=dict)
    not_graded: Counter[str] = field(default_factory=Counter)
    legacy: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def changes(self) -> int:
        """Number of records whose success is another one."""
        return sum(map(len, self.changed.values()))

    def groups(self) -> list[dict[str, object]]:
        """The changed records by change, grader and kind of reason, the most frequent first."""
        groups = sorted(self.changed.items(), key=lambda group: (-len(group[1]), group[0]))
        return [
            {"change": change, "grader": grader, "reason": reason, "count": len(ids), "ids": ids[:_EXAMPLES]}
            for (change, grader, reason), ids in groups
        ]

    def summary(self) -> dict[str, object]:
        """The changes as JSON."""
        return {
            "episodes": self.episodes,
            "graded": self.graded,
            "kept": dict(sorted(self.kept.items())),
            "changes": self.changes,
            "changed": self.groups(),
            "not_graded": dict(self.not_graded.most_common()),
            "legacy": {f"{ours}, reference system {other}": n for (ours, other), n in sorted(self.legacy.items())},
        }


def regrade_bank(
    bank: Path,
    out: Path | None = None,
    *,
    grader: str | None = None,
    legacy: bool = False,
    find: FindReference | None = None,
    threads: int = 2,
) -> Changes:
    """Judges every answer of a bank again.

    Args:
        bank: a folder of shards, or one shard.
        out: folder of the new bank; None writes none.
        grader: judge with this one and not with the one of each record.
        legacy: judge by the reference system's rule, too, and keep both verdicts; ours decides.
        find: the grader and reference of a task, for records of earlier versions, which do not hold them.
        threads: answers that are judged at once by a grader that waits for a process.

    Raises:
        ValueError: a grader is not registered, or ``out`` exists.
    """
    if grader is not None:
        GRADERS.check(grader)
    if out is not None and (out.exists() and (not out.is_dir() or any(out.iterdir()))):
        raise ValueError(f"--out {out}: it exists; a bank is never changed, choose another folder")
    changes = Changes()
    records = _judged(read_trajectories(bank), _Judgement(grader, legacy, find), changes, threads)
    if out is None:
        for _ in records:
            pass
    else:
        write_bank(out, records)
    return changes


class _Judgement:
    """Judges the answers of a record."""

    def __init__(self, grader: str | None, legacy: bool, find: FindReference | None) -> None:
        self._grader, self._legacy, self._find = grader, legacy, find
        self._same = lru_cache(4096)(judge)  # models give the same answers
        self._found: dict[str, Any] = {}

    def __call__(self, record: Trajectory) -> Grading | str:
        """The record's new grading, or the reason why there is none."""
        proposals = [message.content for message in record.messages if message.kind == "proposal"]
        if not proposals:
            return "no answer was proposed"
        known = self._reference(record)
        if known is None:
            return "its reference is not known"
        name, reference = known
        if self._part(name) is None:
            return f"the grader {name} is not registered"
        before = record.grading.verdicts if record.grading else ()
        verdicts = []
        for number, content in enumerate(proposals):
            stored = before[number].proposed if number < len(before) else None
            proposed = parse_tags(content).body if stored is None else stored
            ours = self._same(name, proposed, reference)
            other = self._same(name, proposed, reference, legacy=True).kind if self._legacy else None
            verdicts.append(
                GivenVerdict(kind=ours.kind, reason=ours.reason, reward=ours.reward, legacy=other, proposed=stored)
            )
        return Grading(grader=name, reference=reference, verdicts=tuple(verdicts))

    def _reference(self, record: Trajectory) -> Reference | None:
        grading = record.grading
        if grading is not None and grading.reference is not None:
            return self._grader or grading.grader, grading.reference
        found = self._find(record.task) if self._find is not None else None
        return (self._grader or found[0], found[1]) if found else None

    def slow(self, record: Trajectory) -> bool:
        """Whether judging waits for a process, so that threads help."""
        name = self._grader or (record.grading.grader if record.grading else None)
        return name is None or bool(getattr(self._part(name), "slow", False))

    def _part(self, name: str) -> Any:
        """The registered grader; None when there is none of this name. A look-up reads the installed packages."""
        if name not in self._found:
            try:
                self._found[name] = GRADERS.get(name)
            except ValueError:
                self._found[name] = None
        return self._found[name]


def _judged(
    records: Iterable[Trajectory], judgement: _Judgement, changes: Changes, threads: int
) -> Iterator[Trajectory]:
    """The records with their new verdicts, in order. Counts into ``changes``."""
    waiting = iter(records)
    with ThreadPoolExecutor(threads, thread_name_prefix="regrade") as pool:
        while batch := list(islice(waiting, _BATCH)):
            slow = any(map(judgement.slow, batch))
            gradings = pool.map(judgement, batch) if slow else map(judgement, batch)
            for record, grading in zip(batch, gradings, strict=True):
                yield _counted(record, grading, changes)


def _counted(record: Trajectory, grading: Grading | str, changes: Changes) -> Trajectory:
    changes.episodes += 1
    if isinstance(grading, str):
        changes.not_graded[grading] += 1
        return record
    changes.legacy.update((given.kind, given.legacy) for given in grading.verdicts if given.legacy is not None)
    decisive = _decisive(grading)
    if decisive.kind == "none":
        changes.not_graded[kind_of_reason(decisive.reason)] += 1
        return record.model_copy(update={"grading": grading})
    changes.graded += 1
    success = decisive.kind == "right"
    if success == record.outcome.success:
        changes.kept[decisive.kind] += 1
    else:
        change = "wrong → right" if success else "right → wrong"
        key = (change, grading.grader, kind_of_reason(decisive.reason))
        changes.changed.setdefault(key, []).append(record.id)
    return record.model_copy(update={"grading": grading, "outcome": _outcome(record, decisive)})


def _decisive(grading: Grading) -> GivenVerdict:
    """The first right verdict, else one that is none, else the last."""
    for kind in ("right", "none"):
        for given in grading.verdicts:
            if given.kind == kind:
                return given
    return grading.verdicts[-1]


def _outcome(record: Trajectory, decisive: GivenVerdict) -> Outcome:
    """The outcome with another verdict. Rewards of steps stay, and so do other ends than by an answer."""
    old, success = record.outcome, decisive.kind == "right"
    earlier = _decisive(record.grading) if record.grading and record.grading.verdicts else None
    before = earlier.reward if earlier and earlier.kind != "none" else float(old.success)
    reason = "solved" if success else "wrong_answer" if old.success or old.reason == "error" else old.reason
    if success == old.success and decisive.reward == before:
        return old
    counted = success or reason == "wrong_answer"
    reward = old.reward - (before if old.success or old.reason == "wrong_answer" else 0.0)
    reward += decisive.reward if counted else 0.0
    return old.model_copy(update={"success": success, "reward": reward, "reason": reason, "error": None})


def kind_of_reason(reason: str) -> str:
    """A reason without the values in it, so that equal reasons can be counted."""
    return _VALUE.sub("…", reason)
