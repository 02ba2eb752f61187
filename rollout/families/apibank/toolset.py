"""The functions of a task: the APIs of its dialogue, over databases of the episode's own.

Contract: :meth:`ApiBankTools.fresh` makes the state before the scored call: the databases of the data set, changed by
the earlier calls of the dialogue. Every call of a function is kept on the host, with its input, output and exception;
what a cell does cannot change that list. Cost: databases are parsed when a call needs them.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rollout.bank.trajectory import digest_of
from rollout.families.apibank.apis import APIS, Api, World, accepted_type
from rollout.families.apibank.dialogue import Call, Turn
from rollout.families.base import Toolset


@dataclass(frozen=True)
class Scene:
    """What a task is made of, before its scored call.

    Attributes:
        turns: the dialogue so far.
        described: descriptions of APIs, as the prompt shows them.
    """

    turns: tuple[Turn, ...]
    described: tuple[Mapping[str, Any], ...]

    @property
    def calls(self) -> list[Call]:
        """The calls so far."""
        return [turn.call for turn in self.turns if turn.call is not None]


class ApiBankTools(Toolset):
    """The APIs of a dialogue.

    Args:
        scene: the dialogue before the scored call.
        offered: names of the APIs that can be called.
        databases: name → JSON text; those that the APIs need.
    """

    kind: ClassVar[str | None] = "apibank"

    def __init__(self, scene: Scene, offered: Sequence[str], databases: Mapping[str, str]) -> None:
        self.scene, self.offered, self.databases = scene, tuple(offered), dict(databases)
        self.calls: list[dict[str, Any]] = []
        """The calls of this episode, each in the form of a record."""
        self._world = World(self.databases)

    def fresh(self) -> ApiBankTools:
        """A copy in the state after the earlier calls of the dialogue."""
        mine = ApiBankTools(self.scene, self.offered, self.databases)
        for call in self.scene.calls:
            mine._world.recorded = call.output
            mine._call(APIS[call.name], (), call.input)
        mine._world.recorded = None
        return mine

    def functions(self) -> dict[str, Callable[..., Any]]:
        """Name → function, which keeps its calls."""
        return {name: self._function(APIS[name]) for name in self.offered}

    def description(self) -> Any:
        """The dialogue and everything that the functions know."""
        return [
            self.kind,
            self.offered,
            [turn.as_row() for turn in self.scene.turns],
            self.scene.described,
            digest_of(self.databases),
        ]

    def _function(self, described: Api) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            record = self._call(described, given, named)
            self.calls.append(record)
            if record["exception"] is not None:
                raise ValueError(record["exception"])
            return record["output"]

        parameters = described.signature.parameters.values()
        wide = [one.replace(annotation=accepted_type(one.annotation)) for one in parameters]
        call.__name__ = call.__qualname__ = described.name
        call.__doc__ = inspect.getdoc(described.run)
        call.__signature__ = inspect.Signature(wide)  # type: ignore[attr-defined]
        return call

    def _call(self, described: Api, given: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Any]:
        """The record of a call."""
        inputs: dict[str, Any] = dict(named)
        try:
            inputs = described.bind(*given, **named)
            output, exception = described.run(self._world, **inputs), None
        except (ValueError, TypeError) as fault:
            output, exception = None, str(fault)
        record = {"api_name": described.name, "input": inputs, "output": output, "exception": exception}
        return copy.deepcopy(record)  # later calls change the databases that it shows
