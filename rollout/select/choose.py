"""Which episodes become records.

Contract: an episode is kept, or dropped for the first reason that holds, in the order of :func:`_checks`. Order, choice
and balance depend on ids alone: the same bank gives the same records. An episode is compared with those kept before
it; the model's come before the expert's and, where repairs are preferred, episodes with a repair before others.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from rollout.bank.trajectory import Trajectory
from rollout.select.config import SelectConfig
from rollout.select.language import Language
from rollout.select.rules import (
    PAPER_RULES,
    Reject,
    clean_cell,
    excluded_family,
    native_calls,
    no_repair,
    solved_and_long_enough,
)
from rollout.select.tiers import Tiers
from rollout.select.turns import repaired, text_digest

if TYPE_CHECKING:
    from rollout.select.contamination import Contamination


@dataclass(frozen=True)
class Choice:
    """The kept episodes, the number dropped for each reason, and what else the rules have found."""

    kept: list[Trajectory]
    dropped: Counter[str]
    tiers: Tiers | None = None
    notes: dict[str, Any] = field(default_factory=dict)


class _Check(Protocol):
    """A rule that compares with the kept episodes."""

    def reject(self, trajectory: Trajectory) -> str | None: ...

    def kept(self, trajectory: Trajectory) -> None: ...


class _SameText:
    def __init__(self) -> None:
        self._seen: set[str] = set()

    def reject(self, trajectory: Trajectory) -> str | None:
        return "duplicate" if text_digest(trajectory) in self._seen else None

    def kept(self, trajectory: Trajectory) -> None:
        self._seen.add(text_digest(trajectory))


class _EnoughOfItsTask:
    def __init__(self, most: int) -> None:
        self._most, self._count = most, Counter[str]()

    def reject(self, trajectory: Trajectory) -> str | None:
        return "enough of its task" if self._count[trajectory.task.digest] >= self._most else None

    def kept(self, trajectory: Trajectory) -> None:
        self._count[trajectory.task.digest] += 1


class _EnoughOfItsParent:
    def __init__(self, most: int) -> None:
        self._most, self._count = most, Counter[str]()

    def reject(self, trajectory: Trajectory) -> str | None:
        branch = trajectory.branch
        return "enough branches of its parent" if branch and self._count[branch.parent] >= self._most else None

    def kept(self, trajectory: Trajectory) -> None:
        if trajectory.branch:
            self._count[trajectory.branch.parent] += 1


def choose_episodes(everything: Sequence[Trajectory], config: SelectConfig) -> Choice:
    """Keeps or drops each episode."""
    tiers = Tiers(everything, config.tiers) if config.tiers else None
    contamination = _contamination(config)
    alone, compared = _checks(config, tiers, contamination)
    dropped: Counter[str] = Counter()
    kept: list[Trajectory] = []
    for trajectory in sorted(everything, key=lambda t: _rank(t, config)):
        reasons = (reason for reject in alone if (reason := reject(trajectory)))
        reason = next(reasons, None) or next((r for one in compared if (r := one.reject(trajectory))), None)
        if reason:
            dropped[reason] += 1
            continue
        for one in compared:
            one.kept(trajectory)
        kept.append(trajectory)
    if config.balance is not None:
        kept, surplus = _balance(kept, config)
        of_its = f"surplus of its {config.balance_by}"
        dropped.update({of_its: surplus} if surplus else {})
    notes = {"tiers": tiers.summary()} if tiers else {}
    if contamination:
        notes["decontamination"] = contamination.summary()
    return Choice(kept, dropped, tiers, notes)


def _contamination(config: SelectConfig) -> Contamination | None:
    if config.decontaminate is None:
        return None
    from rollout.select.contamination import Contamination  # reads data sets with numpy; not needed to read a config

    return Contamination(config.decontaminate)


def _rank(trajectory: Trajectory, config: SelectConfig) -> tuple[bool, bool, float, int, int, str]:
    expert = trajectory.model.startswith("expert")
    unrepaired = config.repairs == "prefer" and not repaired(trajectory)
    if not config.best_first:
        return unrepaired, expert, 0.0, 0, 0, trajectory.id
    usage = trajectory.usage
    return unrepaired, expert, -trajectory.outcome.reward, usage.steps, usage.error_cells, trajectory.id


def _checks(
    config: SelectConfig, tiers: Tiers | None, contamination: Contamination | None
) -> tuple[list[Reject], list[_Check]]:
    """The rules that look at one episode, then those that compare it with kept ones, in their order."""
    alone: list[Reject] = [solved_and_long_enough(config), native_calls]
    if tiers:
        alone.append(tiers.reject)
    if config.exclude_families:
        alone.append(excluded_family(config))
    alone += [PAPER_RULES[name] for name in config.rules]
    if config.require_clean_cell:
        alone.append(clean_cell)
    if config.repairs == "require":
        alone.append(no_repair)
    if config.language:
        alone.append(Language(config.language).reject)
    if contamination:
        alone.append(contamination.reject)
    compared: list[_Check] = [_SameText()] if config.drop_duplicates else []
    if config.near_duplicates is not None:
        from rollout.select.near_duplicates import NearDuplicates  # datasketch is slow to import

        compared.append(NearDuplicates(config.near_duplicates))
    if config.max_per_parent is not None:
        compared.append(_EnoughOfItsParent(config.max_per_parent))
    if config.max_per_task is not None:
        compared.append(_EnoughOfItsTask(config.max_per_task))
    return alone, compared


def _balance(kept: Iterable[Trajectory], config: SelectConfig) -> tuple[list[Trajectory], int]:
    """Drops episodes of the kinds or families that have too many: those that come last."""
    assert config.balance is not None
    groups: dict[str, list[Trajectory]] = defaultdict(list)
    for trajectory in kept:
        groups[trajectory.task.kind if config.balance_by == "kind" else trajectory.task.family].append(trajectory)
    limit = int(config.balance * min(map(len, groups.values()), default=0))
    balanced = [trajectory for members in groups.values() for trajectory in members[:limit]]
    surplus = sum(len(members) for members in groups.values()) - len(balanced)
    return sorted(balanced, key=lambda t: t.id), surplus
