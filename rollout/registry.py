"""Parts found by name: the built-in ones, and those that installed packages add through entry points.

Contract: a name is looked up among the built-in parts first, then among the entry points of the registry's group, so
that a package adds a part without a change here and cannot replace a built-in one. A part is imported when it is first
used: importing this module and checking a name import neither torch nor Ray nor the part. An unknown name is a
``ValueError`` that lists the known ones; a part that cannot be imported, one that names its distribution.

A package registers a grader like this, in its ``pyproject.toml``::

    [project.entry-points."codeact.graders"]
    exact = "my_package.graders:exact"

Without a package, the name ``module:attribute`` is a part of a module on the Python path or in the current folder.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any


class Registry:
    """Name → part of one kind, such as graders.

    Args:
        group: entry-point group that is read.
        kind: what a part is called in messages, such as "grader".
        builtin: name → ``module:attribute`` of the parts in this tree.
    """

    def __init__(self, group: str, kind: str, builtin: Mapping[str, str]) -> None:
        self.group, self._kind, self._builtin = group, kind, builtin
        self._loaded: dict[str, Any] = {}

    def names(self) -> list[str]:
        """Every registered name, sorted. Parts that were asked for as ``module:attribute`` are not registered."""
        loaded = (name for name in self._loaded if ":" not in name)
        return sorted({*self._builtin, *loaded, *entry_points(group=self.group).names})

    def add(self, name: str, part: Any) -> None:
        """Registers a part in this process only, for scripts and notebooks: Ray workers do not see it.

        Raises:
            ValueError: the name is taken.
        """
        if name in self.names():
            raise ValueError(f"the {self._kind} {name!r} is registered already; choose another name")
        self._loaded[name] = part

    def check(self, name: str) -> str:
        """Returns ``name``. Raises ``ValueError`` when nothing is registered under it. Imports nothing."""
        if ":" in name:
            return name
        if name not in self._loaded and name not in self._builtin:
            self._entry_point(name)
        return name

    def get(self, name: str) -> Any:
        """The part, imported on first use.

        Raises:
            ValueError: the name is unknown, two packages claim it, or the part cannot be imported.
        """
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def _load(self, name: str) -> Any:
        if ":" in name:
            return self._import(name)
        if name in self._builtin:
            module, _, attribute = self._builtin[name].partition(":")
            return getattr(importlib.import_module(module), attribute)
        found = self._entry_point(name)
        try:
            return found.load()
        except Exception as fault:  # the code is another package's and may raise anything
            raise ValueError(
                f"the {self._kind} {name!r} of {_distribution(found)} cannot be loaded from {found.value}: "
                f"{type(fault).__name__}: {fault}; repair or uninstall that package"
            ) from fault

    def _import(self, name: str) -> Any:
        """The part at ``module:attribute``. The module is on the Python path or in the current folder."""
        module, _, attribute = name.partition(":")
        try:
            try:
                found = importlib.import_module(module)
            except ModuleNotFoundError as fault:
                if fault.name != module.partition(".")[0]:
                    raise
                sys.path.append(str(Path.cwd()))  # a console script has the folder of the script there instead
                found = importlib.import_module(module)
            return getattr(found, attribute)
        except Exception as fault:  # the code is a user's and may raise anything
            raise ValueError(
                f"the {self._kind} {name!r} cannot be loaded: {type(fault).__name__}: {fault}; write MODULE:FUNCTION "
                "with a module on the Python path or in the current folder"
            ) from fault

    def _entry_point(self, name: str) -> EntryPoint:
        found = list(entry_points(group=self.group, name=name))
        if not found:
            raise ValueError(
                f"{name!r} is not a registered {self._kind}; known: {', '.join(self.names())}; a package can add one "
                f"as an entry point of the group {self.group}"
            )
        if len(found) > 1:
            owners = " and ".join(sorted(map(_distribution, found)))
            raise ValueError(f"the {self._kind} {name!r} is registered by {owners}; uninstall all but one")
        return found[0]


def _distribution(found: EntryPoint) -> str:
    return f"{found.dist.name} {found.dist.version}" if found.dist else "an unknown distribution"


TASK_FAMILIES = Registry(
    "codeact.task_families",
    "task family",
    {
        "alfworld": "rollout.families.alfworld:generate",
        "apibank": "rollout.families.apibank:generate",
        "apps": "rollout.families.apps:generate",
        "bfcl": "rollout.families.bfcl:generate",
        "dbbench": "rollout.families.dbbench:generate",
        "folder": "rollout.families.folder:generate",
        "gsm8k": "rollout.families.gsm8k:generate",
        "hotpotqa": "rollout.families.hotpotqa:generate",
        "humaneval": "rollout.families.humaneval:generate",
        "m3tooleval": "rollout.families.m3tooleval:generate",
        "math": "rollout.families.math:generate",
        "math_word_problems": "rollout.families.math_word_problems:generate",
        "mbpp": "rollout.families.mbpp:generate",
        "miniwob": "rollout.families.miniwob:generate",
        "mmlu": "rollout.families.mmlu:generate",
        "mt_bench": "rollout.families.mt_bench:generate",
        "procedural": "rollout.families.procedural:generate",
        "reasoning_gym": "rollout.families.reasoning_gym:generate",
        "scienceworld": "rollout.families.scienceworld:generate",
        "strategyqa": "rollout.families.strategyqa:generate",
        "theoremqa": "rollout.families.theoremqa:generate",
        "tool_suite": "rollout.families.tool_suite:generate",
        "wikitablequestions": "rollout.families.wikitablequestions:generate",
    },
)
"""Family name → ``generate(split, count, seed, kinds=None) -> list[Task]``, a :class:`rollout.families.TaskFamily`."""

GRADERS = Registry(
    "codeact.graders",
    "grader",
    {
        "apibank": "rollout.graders.apibank:apibank",
        "calls": "rollout.graders.calls:calls",
        "choice": "rollout.graders.choice:choice",
        "denotation": "rollout.graders.denotation:denotation",
        "environment": "rollout.graders.short:environment",
        "exact": "rollout.graders.short:exact",
        "m3tooleval": "rollout.graders.m3tooleval:m3tooleval",
        "last_number": "rollout.graders.text:last_number",
        "math": "rollout.graders.math_answer:math_answer",
        "number": "rollout.graders.text:number",
        "rating": "rollout.graders.rating:rating",
        "rubric": "rollout.graders.rubric:rubric",
        "reasoning_gym": "rollout.graders.reasoning_gym:reasoning_gym",
        "short_answer": "rollout.graders.short:short_answer",
        "sql_result": "rollout.graders.sql_result:sql_result",
        "stdin_tests": "rollout.graders.code:stdin_tests",
        "text": "rollout.graders.text:text",
        "theoremqa": "rollout.graders.theoremqa:theoremqa",
        "unit_tests": "rollout.graders.code:unit_tests",
        "yes_no": "rollout.graders.short:yes_no",
    },
)
"""Grader name → ``grade(proposed, reference) -> bool | float | Verdict``, a :data:`rollout.graders.Grader`."""

ENGINES = Registry(
    "codeact.engines",
    "engine",
    {"expert": "rollout.engines.spec:ExpertSpec", "model": "rollout.engines.spec:ServerSpec"},
)
"""Engine name → ``describe(**options) -> EngineSpec`` (:class:`rollout.engines.spec.EngineSpec`)."""

KERNEL_SOURCES = Registry(
    "codeact.kernel_sources",
    "kernel source",
    {"local": "rollout.kernel_source:open_local", "service": "rollout.kernel_source:open_service"},
)
"""Kernel source name → ``async open(config, protocol, token) -> KernelSource`` (:mod:`rollout.kernel_source`)."""

ENVIRONMENTS = Registry(
    "codeact.environments",
    "environment",
    {
        "described_calls": "rollout.codeact.described_calls:DescribedCallsEnvironment",
        "one_call": "rollout.codeact.one_call:OneCallEnvironment",
    },
)
"""Environment name → ``open(task, kernels, protocol) -> Environment``, for families whose tasks are no conversations
with code: a family names one, and does not import it."""
