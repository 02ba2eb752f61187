"""Scripted players of a task: one makes the recorded call, others make plausible wrong ones.

Contract: plain functions of the record. A wrong turn is wrong by the rule of :mod:`rollout.graders.apibank`: another
API, one changed or missing argument, no call, a call that is only written, half a call, two calls.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rollout.families.apibank.dialogue import Call
from rollout.families.base import Demonstration
from rollout.protocol.calls import render_call

Inputs = Mapping[str, Any]
_DATE = re.compile(r"(\d{4}-)?\d\d-\d\d( \d\d:\d\d:\d\d)?")
_ELSE = "blockchain and zebras"
"""A text that is in no record."""
_OTHER_SEARCH = "play music"
"""A search for a tool that no record of level 2 finds."""


@dataclass(frozen=True)
class MakesRecordedCall:
    """The expert of a task, for each form of one call. It makes no mistakes."""

    call: Call
    others: tuple[Call, ...] = ()
    """Other calls of the dialogue."""

    def in_form(self, form: str) -> Callable[[bool], Demonstration]:
        """The expert under protocols of a form."""

        def demonstrate(make_mistake: bool) -> Demonstration:
            yield render_call(form, self.call.name, self.call.input)

        return demonstrate

    def __call__(self, make_mistake: bool) -> Demonstration:
        """The expert in code."""
        return self.in_form("call_code")(make_mistake)

    def wrong_turns(self, form: str) -> list[str]:
        """Turns that must not solve the task; each is an episode of its own."""
        name, inputs = self.call.name, self.call.input
        right = render_call(form, name, inputs)
        written = f"print({right!r})" if form == "call_code" else f"The assistant calls {name} with {inputs}."
        wrong = [render_call(form, *call) for call in wrong_calls(self.call, self.others)]
        return [*wrong, "I will do that for you.", written, right[:-1], two_calls(form, self.call)]


def wrong_calls(call: Call, others: tuple[Call, ...] = ()) -> list[tuple[str, Inputs]]:
    """Name and inputs of calls that differ from a record in one point."""
    found: list[tuple[str, Inputs]] = [(one.name, one.input) for one in others if one.name != call.name][:1]
    found.append(("GetToday", {}) if call.name != "GetToday" else ("Calculator", {"formula": "1+1"}))
    for key, value in call.input.items():
        found.append((call.name, {**call.input, key: _changed(call.name, value)}))
    if call.input:
        found.append((call.name, dict(list(call.input.items())[1:])))
    return found


def wrong_records(call: Call) -> Iterator[str]:
    """Calls that were made and are not the recorded one, in the form that the grader reads."""
    record = call.as_record()
    for name, inputs in wrong_calls(call):
        if name != "ToolSearcher":  # which is judged by what it finds
            yield json.dumps({**record, "api_name": name, "input": inputs, "output": None})
    yield json.dumps({"calls": [record, record]})
    yield json.dumps({"calls": []})


def two_calls(form: str, call: Call) -> str:
    """The call, made twice in one turn."""
    once = render_call(form, call.name, call.input)
    return f"{once}\n{once}" if form == "call_text" else f"{once[:-1]}, {once[1:]}"


def _changed(name: str, value: Any) -> Any:
    """A value that is clearly another one."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, list):
        return [*value[:-1], {**value[-1], "value": "7919"} if isinstance(value[-1], dict) else _ELSE]
    if _DATE.fullmatch(value):
        place = value.rindex("-") + 2  # the last digit of the day
        return f"{value[:place]}{(int(value[place]) + 1) % 10}{value[place + 1 :]}"
    return _OTHER_SEARCH if name == "ToolSearcher" else _ELSE
