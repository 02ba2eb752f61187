"""The prompt of a task under a protocol, for ``codeact tasks show``. It needs neither a model nor a kernel."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rollout import TASK_FAMILIES, DataFamily, EpisodeProtocol, Message, Task, TaskSet, load_tasks, open_environment
from rollout.families import data_families
from sandbox.validation import format_errors


@dataclass(frozen=True)
class Prompt:
    """What a model gets before its first turn."""

    task: Task
    messages: Sequence[Message]
    native_tools: Sequence[dict[str, Any]]

    def text(self) -> str:
        """Every message under a line with its role."""
        parts = [f"## {message.role}\n\n{message.content}" for message in self.messages]
        parts += [f"## tool\n\n{json.dumps(tool, indent=1, ensure_ascii=False)}" for tool in self.native_tools]
        return "\n\n".join(parts)

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        messages = [{"role": message.role, "content": message.content} for message in self.messages]
        return {"task": self.task.id, "messages": messages, "tools": list(self.native_tools)}


def prompt_of(family: str, protocol: str, split: str | None, task_id: str | None, data_root: Path | None) -> Prompt:
    """The prompt of a task.

    Args:
        family: name of a registered family.
        protocol: name of a shipped protocol, or path of a file.
        split: by default the family's first split that is on this machine, else its first; ``train`` for a family
            without a data set.
        task_id: by default the first task.

    Raises:
        ValueError: one of them does not exist.
    """
    try:
        chosen = EpisodeProtocol.model_validate(protocol)
    except ValidationError as error:
        raise ValueError(format_errors("--protocol: ", error, model=EpisodeProtocol)) from None
    TASK_FAMILIES.check(family)
    known = data_families().get(family)
    split = split or (_default_split(known, data_root) if known else "train")
    tasks = load_tasks(TaskSet(family=family, split=split, count=None if known else 160, data_root=data_root))
    found = next((task for task in tasks if task_id in (None, task.id)), None)
    if found is None:
        raise ValueError(f"--task={task_id}: {family}/{split} has no such task; its first ids are "
                         f"{', '.join(task.id for task in tasks[:3])}")  # fmt: skip
    environment = open_environment(found, _NoKernels(), chosen)
    try:
        return Prompt(found, environment.prompt(), getattr(environment, "native_tools", ()))
    finally:
        asyncio.run(environment.close())


def _default_split(family: DataFamily, data_root: Path | None) -> str:
    splits = list(family.info.splits)
    return next((split for split in splits if family.is_here(split, data_root)), splits[0])


class _NoKernels:
    """A source that is never asked: a prompt runs nothing."""

    tier = "none"

    async def acquire(self, tools: Any) -> Any:
        raise NotImplementedError

    async def close(self) -> None:
        """Nothing to release."""
