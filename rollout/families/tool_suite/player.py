"""The scripted player of the suite: solves a task with its program, in code or with one call a turn.

Contract: a :class:`Player` demonstrates one task. Where actions are code it runs the program in one cell. In JSON and
text it runs the program here, on the replies in the conversation: the first call without a reply is its next action.
It uses only replies that the environment gave, and never sees the data. With ``make_mistake`` it first calls a function
that does not exist, and then goes on.

Programs come from this package, and run in this process.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rollout.families.base import Demonstration, Toolset
from rollout.families.calling_expert import Call, answer_turn, call_turn, cell_turn

CODE_FORMS = ("tags", "chat", "fenced", "action_code")
CALL_FORMS = ("action_json", "action_text")


class _NoReplyError(BaseException):
    """Leaves the program at its first call without a reply. Not an ``Exception``, so that no program catches it."""

    def __init__(self, call: Call) -> None:
        self.call = call


@dataclass(frozen=True)
class Player:
    """Demonstrates a task; it is the ``expert`` of a :class:`rollout.families.base.Task`."""

    program: str
    toolset: Toolset

    def __call__(self, make_mistake: bool) -> Demonstration:
        """The demonstration in tags."""
        return self._in_one_cell("tags", make_mistake)

    def in_form(self, form: str) -> Callable[[bool], Demonstration]:
        """The same expert under a protocol of another form.

        Raises:
            ValueError: it cannot write turns in this form.
        """
        if form not in (*CODE_FORMS, *CALL_FORMS):
            known = ", ".join((*CODE_FORMS, *CALL_FORMS))
            raise ValueError(f"protocol.form={form}: the expert of tool_suite does not write it; choose from: {known}")

        def demonstrate(make_mistake: bool) -> Demonstration:
            play = self._call_by_call if form in CALL_FORMS else self._in_one_cell
            return play(form, make_mistake)

        return demonstrate

    def _in_one_cell(self, form: str, make_mistake: bool) -> Demonstration:
        body, _, last = self.program.rpartition("\n")
        if make_mistake:
            misspelt = f"{body}\n{last.replace('print', 'show', 1)}"
            yield _with_thought(form, "I compute it with the functions.", cell_turn(form, misspelt))
            shown = yield _with_thought(form, "It is computed, and only has to be printed.", cell_turn(form, last))
        else:
            shown = yield _with_thought(form, "I compute it with the functions.", cell_turn(form, self.program))
        yield answer_turn(form, shown.strip())

    def _call_by_call(self, form: str, make_mistake: bool) -> Demonstration:
        replies: list[Any] = []
        while isinstance(step := self._next(replies), Call):
            if make_mistake and not replies:
                yield _with_thought(form, "I ask for it.", call_turn(form, Call(f"get_{step.tool}", step.args)))
            shown = yield _with_thought(form, "I call the function.", call_turn(form, step))
            replies.append(self._value(step, shown))
        yield answer_turn(form, step)

    def _next(self, replies: Sequence[Any]) -> Call | str:
        """The first call of the program without a reply; what it prints when there is none."""
        left = iter(replies)

        def ask(tool: str, arguments: tuple[Any, ...]) -> Any:
            for reply in left:
                return reply
            raise _NoReplyError(Call(tool, arguments))

        try:
            return run_program(self.program, self.toolset.names, ask)
        except _NoReplyError as stopped:
            return stopped.call

    def _value(self, call: Call, shown: str) -> Any:
        """What a function returned, read from the observation."""
        returns = inspect.signature(self.toolset.functions()[call.tool], eval_str=True).return_annotation
        return shown if returns is str else ast.literal_eval(shown)


def _with_thought(form: str, thought: str, turn: str) -> str:
    return f"Thought: {thought}\n{turn}" if form.startswith("action") else f"{thought}\n{turn}"


def run_program(program: str, names: Sequence[str], ask: Callable[[str, tuple[Any, ...]], Any]) -> str:
    """What a program of this package prints when ``ask`` answers its calls of the functions."""

    def function(name: str) -> Callable[..., Any]:
        return lambda *arguments: ask(name, arguments)

    printed: list[str] = []
    given: Mapping[str, Any] = {name: function(name) for name in names}
    exec(compile(program, "<program>", "exec"), {**given, "print": lambda value: printed.append(str(value))})
    return "\n".join(printed)


def count_calls(program: str, toolset: Toolset) -> tuple[int, str]:
    """How many calls a program makes on a fresh copy of a toolset, and what it prints."""
    functions, made = toolset.fresh().functions(), 0

    def ask(tool: str, arguments: tuple[Any, ...]) -> Any:
        nonlocal made
        made += 1
        return functions[tool](*arguments)

    printed = run_program(program, toolset.names, ask)
    return made, printed
