"""The plan of a collection: tasks, episodes, tokens and money, source by source and teacher by teacher.

Contract: tasks are counted from the data on this machine. Where the data are missing, the number is the known one of
the original and marked so, and the plan names the file with the command or address that gets it. Tokens are the mean of
the same engine and family in the bank where it has some, else estimates from the paper
(:mod:`rollout.postprocess.costs.paper`).
Nothing is run and no server is asked. Cost: loads every data set that is here, as a collection does.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rollout.bank.store import read_trajectories
from rollout.config import CollectConfig, Source
from rollout.families import Task, TaskSet, load_tasks
from rollout.families.data import DataFamily, DataRoot, MissingDataError
from rollout.postprocess.costs import paper
from rollout.postprocess.costs.prices import Price
from rollout.registry import TASK_FAMILIES

_NUMBER = re.compile(r"\d[\d,]+")
"""A number of tasks in the description of a split."""


@dataclass
class MissingData:
    """A file of a data set that is not on this machine, or a part that cannot be used here."""

    family: str
    split: str
    what: str
    get: str


@dataclass
class SourcePlan:
    """One source of ``collect.sources``. ``basis`` says where the number of tasks comes from."""

    number: int
    family: str
    split: str
    preset: str | None
    engines: tuple[str, ...]
    samples: int
    tasks: int | None
    basis: str
    episodes: int | None = None
    done: int = 0
    notes: list[str] = field(default_factory=list)


@dataclass
class TeacherPlan:
    """One engine over all sources: what is left to run. ``money`` is None without a price."""

    engine: str
    model: str
    episodes: int = 0
    prompt_tokens: float = 0.0
    completion_tokens: float = 0.0
    money: float | None = None
    basis: list[str] = field(default_factory=list)


@dataclass
class CollectionPlan:
    """A plan; every figure of tokens and money in it is an estimate."""

    sources: list[SourcePlan] = field(default_factory=list)
    teachers: list[TeacherPlan] = field(default_factory=list)
    missing: list[MissingData] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The plan as plain values."""
        return {"estimated": True, "estimate_source": paper.SOURCE, **asdict(self)}


def plan_collection(
    config: CollectConfig, models: Mapping[str, str], bank: Path, prices: Mapping[str, Price] | None = None
) -> CollectionPlan:
    """The plan of a collection.

    Args:
        models: engine name → model as trajectories store it, for the servers of the section ``engines``.
        bank: episodes that are done are counted there; it need not exist.
        prices: by model.
    """
    plan, seen = CollectionPlan(), _Bank(bank)
    teachers: dict[str, TeacherPlan] = {}
    for number, source in enumerate(config.sources):
        entry = _source(number, source, seen, models, plan.missing)
        plan.sources.append(entry)
        for name in source.names:
            model = _model(name, source, models)
            teacher = teachers.setdefault(name, TeacherPlan(name, model))
            _add(teacher, entry, len(source.names), seen)
    for teacher in teachers.values():
        price = (prices or {}).get(teacher.model)
        if price is not None:
            teacher.money = round(price.of(teacher.prompt_tokens, teacher.completion_tokens), 2)
        elif teacher.engine == "expert":
            teacher.money = 0.0
    plan.teachers = list(teachers.values())
    return plan


class _Bank:
    """What a bank says about tokens and about what is done."""

    def __init__(self, folder: Path) -> None:
        self.done: Counter[tuple[str, str]] = Counter()
        self._loaded: dict[str, list[Task]] = {}
        self._tokens: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
        for one in read_trajectories(folder) if folder.exists() else ():
            if one.lost or one.branch is not None:
                continue
            self.done[one.model, one.task.digest] += 1
            usage = one.usage
            if usage.prompt_tokens or usage.completion_tokens:
                self._tokens[one.model, one.task.family].append((usage.prompt_tokens, usage.completion_tokens))

    def tasks(self, chosen: TaskSet) -> list[Task]:
        """The tasks of a set, loaded once."""
        key = chosen.model_dump_json()
        if key not in self._loaded:
            self._loaded[key] = load_tasks(chosen)
        return self._loaded[key]

    def tokens(self, model: str, family: str) -> tuple[float, float, str]:
        """Tokens of prompts and completions of an episode, and where the figures come from."""
        if model.startswith("expert"):
            return 0.0, 0.0, "the expert uses no tokens"
        if found := self._tokens.get((model, family)):
            count = len(found)
            return (
                sum(prompt for prompt, _ in found) / count,
                sum(completion for _, completion in found) / count,
                f"measured: {count} episodes of {family} in the bank",
            )
        return *paper.tokens_per_episode(family), f"estimated from {paper.SOURCE}"


def _source(
    number: int, source: Source, seen: _Bank, models: Mapping[str, str], missing: list[MissingData]
) -> SourcePlan:
    tasks = source.tasks
    entry = SourcePlan(number, tasks.family, tasks.split, tasks.preset, source.names, source.samples, None, "not known")
    absent = _missing(source)
    loaded: list[Task] = []
    if not absent:
        try:
            loaded = seen.tasks(tasks)
        except ValueError as fault:  # a package that is not installed, a list of tasks that is not there yet
            absent = [MissingData(tasks.family, tasks.split, "its tasks cannot be loaded", str(fault))]
    if absent:
        missing += [one for one in absent if one not in missing]
        entry.tasks, entry.basis = _known_count(source)
    else:
        entry.tasks, entry.basis = len(loaded), "counted"
        for name in source.names:
            model = _model(name, source, models)
            entry.done += sum(min(source.samples, seen.done[model, task.ref.digest]) for task in loaded)
    if source.only_unsolved and entry.tasks is not None:
        share = paper.unsolved_share(tasks.family)
        entry.tasks = min(round(entry.tasks * share), source.most_tasks or entry.tasks)
        entry.basis = f"estimated: {share:.0%} unsolved in the paper"
        entry.done = min(entry.done, entry.tasks * source.samples * len(source.names))
    if entry.tasks is not None:
        entry.episodes = entry.tasks * source.samples * len(source.names)
    if source.repair:
        entry.notes.append(f"and {source.repair.samples} branches of each failed episode in which a cell failed")
    return entry


def _missing(source: Source) -> list[MissingData]:
    """The files that a source needs and this machine has not."""
    tasks = source.tasks
    family = TASK_FAMILIES.get(tasks.family)
    if not isinstance(family, DataFamily):
        return []
    root, found = DataRoot(tasks.data_root), []
    for needed in family.info.sources.get(tasks.split, ()):
        try:
            root.find(needed)
        except MissingDataError:
            command = f"codeact tasks fetch {tasks.family} --split {tasks.split}"
            where = needed.url or (f"https://huggingface.co/datasets/{needed.hub}" if needed.hub else "")
            get = f"{command} (from {where})" if where and " " not in where else where or "no address is known"
            found.append(MissingData(tasks.family, tasks.split, needed.files[0], get))
    return found


def _known_count(source: Source) -> tuple[int | None, str]:
    """The number of tasks of the original, when its files are not here."""
    tasks = source.tasks
    family = TASK_FAMILIES.get(tasks.family)
    known: int | None = None
    if isinstance(family, DataFamily):
        if tasks.preset is not None and tasks.preset in family.info.presets:
            known = family.info.presets[tasks.preset].count
        elif (number := _NUMBER.search(family.info.splits.get(tasks.split, ""))) is not None:
            known = int(number[0].replace(",", ""))
    if tasks.kinds is not None:
        counts = paper.PAPER_KINDS.get(tasks.family, {}) if tasks.preset == "paper" else {}
        known = sum(counts[kind] for kind in tasks.kinds) if set(tasks.kinds) <= set(counts) else None
    if known is None:
        return tasks.count, "as configured" if tasks.count else "not known"
    return min(known, tasks.count or known), "known: the original's number"


def _model(name: str, source: Source, models: Mapping[str, str]) -> str:
    """The model of an engine, as trajectories store it."""
    return f"expert-{source.error_share:g}" if name == "expert" else models.get(name, name)


def _add(teacher: TeacherPlan, entry: SourcePlan, engines: int, seen: _Bank) -> None:
    """Adds an engine's share of what a source has left to do."""
    if entry.episodes is None:
        teacher.basis.append(f"source {entry.number} is not counted: its number of tasks is not known")
        return
    left = max(0, entry.episodes - entry.done) // engines
    prompt, completion, basis = seen.tokens(teacher.model, entry.family)
    teacher.episodes += left
    teacher.prompt_tokens += left * prompt
    teacher.completion_tokens += left * completion
    if basis not in teacher.basis:
        teacher.basis.append(basis)
