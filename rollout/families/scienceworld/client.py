"""Worlds of ScienceWorld, simulated by one Java process for each process of ours.

Contract: :func:`start_world` starts Java (:mod:`rollout.families.scienceworld.machine`) if it does not run, and loads
a world there; worlds do not see one another. When Java fails, each of its worlds is an ``infra`` fault, which is no
score, and the next world has another Java process. Safe to use from several threads.
Cost: 0.1 s for a world, some milliseconds for a command.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from rollout.environment import EnvironmentFault
from rollout.families.data import MissingDataError
from rollout.families.scienceworld.installed import installed

if TYPE_CHECKING:
    from rollout.families.scienceworld.machine import Machine

SIMPLIFICATIONS = "easy"
"""Doors and containers are open, flower pots water themselves, and the agent can teleport. As the reference."""
Value = TypeVar("Value")


class _Machines:
    """The Java process of this process. A forked child starts its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._machine: Machine | None = None
        self._owner = 0

    def get(self) -> Machine:
        """It, started if it does not run. Raises EnvironmentFault."""
        with self._lock:
            if self._machine is None or self._owner != os.getpid() or not self._machine.runs:
                self._machine, self._owner = _started(), os.getpid()
            return self._machine

    def end(self) -> None:
        with self._lock:
            if self._machine is not None and self._owner == os.getpid():
                self._machine.end("the Java process of the simulator was ended")
            self._machine = None


def _started() -> Machine:
    try:
        place = installed()
    except MissingDataError as error:  # on another machine than the one that has loaded the tasks
        raise EnvironmentFault("infra", str(error)) from None
    from rollout.families.scienceworld.machine import Machine  # imports py4j

    return Machine(place)


_MACHINES = _Machines()


def end_java() -> None:
    """Ends the Java process of this process; the next world starts another."""
    _MACHINES.end()


class RunningWorld:
    """A world in progress.

    Attributes:
        score: between 0 and 1, as the simulator says. A mistake that ends the task leaves the score before it.
        moves: moves of the simulator; looking around costs none.
        completed: whether the simulator says that the task is over.
        fault: why the world cannot go on.
    """

    def __init__(self, task: str, variation: int, *, gold: bool = False) -> None:
        """Loads it; the arguments are those of :func:`start_world`."""
        self._name, self._machine = f"{task}/{variation}", _MACHINES.get()
        self.score, self.moves, self.completed = 0.0, 0, False
        self.fault: EnvironmentFault | None = None
        self._simulator = self._machine.simulator()
        try:
            self._call(lambda: self._simulator.load(task, variation, SIMPLIFICATIONS, gold))
        except BaseException:
            self.close()
            raise

    @property
    def java(self) -> subprocess.Popen[bytes]:
        """The process that simulates it."""
        return self._machine.process

    def play(self, command: str) -> str:
        """The reply to a command.

        Raises:
            EnvironmentFault: the simulator has failed.
            ValueError: the command makes the simulator raise an exception; the world goes on.
        """
        if self.fault is not None:
            raise self.fault

        def step() -> tuple[str, float, bool, int]:
            simulator = self._simulator
            return simulator.step(command), simulator.getScore(), simulator.getCompleted(), simulator.getNumMoves()

        try:
            text, score, completed, moves = self._machine.call(step)
        except ValueError as error:
            raise ValueError(f"the simulator cannot do {command!r}: {error}") from None
        except EnvironmentFault as fault:
            self.fault = EnvironmentFault("infra", f"{self._name}: {fault}")
            raise self.fault from None
        self.completed, self.moves = completed or score < 0, moves
        self.score = round(score, 6) if score >= 0 else self.score
        return text.strip()

    def description(self) -> str:
        """What is to be done."""
        text = self._call(lambda: str(self._simulator.getTaskDescription()))
        return text.partition("Task Description:\n")[2].strip() or text.strip()

    def gold_path(self) -> list[str]:
        """Commands that do the task; the world has been started with ``gold``."""
        return self._call(lambda: [str(one) for one in self._simulator.getGoldActionSequence()])

    def close(self) -> None:
        """Lets the world go, in a thread, because another world may be busy in Java."""
        threading.Thread(target=self._machine.forget, args=(self._simulator,), name="world-ends", daemon=True).start()

    def _call(self, function: Callable[[], Value]) -> Value:
        return _called(self._machine, function, self._name)


def names() -> list[str]:
    """The 30 tasks, in the simulator's order. Raises EnvironmentFault."""
    return _asked(lambda simulator: [str(one) for one in simulator.getTaskNames()])


def variations(task: str, split: str) -> list[int]:
    """The variations of a task in a split of the simulator: ``Train``, ``Dev`` or ``Test``. Raises EnvironmentFault."""

    def ask(simulator: Any) -> list[int]:
        simulator.load(task, 0, SIMPLIFICATIONS, False)
        return [int(one) for one in getattr(simulator, f"getVariations{split}")()]

    return _asked(ask)


def _asked(question: Callable[[Any], Value]) -> Value:
    machine = _MACHINES.get()
    simulator = machine.simulator()
    try:
        return _called(machine, lambda: question(simulator), "the simulator")
    finally:
        machine.forget(simulator)


def _called(machine: Machine, function: Callable[[], Value], name: str) -> Value:
    """A call that must work. Raises EnvironmentFault."""
    try:
        return machine.call(function)
    except ValueError as error:
        raise EnvironmentFault("infra", f"{name}: the simulator failed: {error}") from None


def start_world(task: str, variation: int, *, gold: bool = False) -> RunningWorld:
    """A world at its start.

    Args:
        task: one of the 30 tasks, such as ``boil``.
        variation: one of its variations.
        gold: also let the simulator work out commands that do the task, which takes up to 15 s.

    Raises:
        EnvironmentFault: Java is not on this machine, does not start, or fails.
    """
    return RunningWorld(task, variation, gold=gold)
