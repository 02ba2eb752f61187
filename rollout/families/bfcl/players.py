"""Scripted players of a request: right calls made from the possible answers, and wrong ones made from those.

Contract: plain functions of the descriptions and the possible answers. :func:`right_calls` uses every accepted value of
every argument at least once. A wrong list differs in one point: a missing, changed, invented or wrongly typed argument,
another function, a call too many or too few. In code, a call that is only printed is none, and code that fails before a
call makes none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rollout.families.base import Demonstration
from rollout.protocol.call_lists import render_calls

Calls = list[tuple[str, dict[str, Any]]]
FORMS = ("calls_python", "calls_json", "tools")
_ELSE = "zebra 7919"
"""A text that is in no answer."""
_UNREADABLE = {
    "calls_python": "[{name}(",
    "calls_json": '[{{"name": "{name}", "arguments": {{',
    "tools": "{name}",
}


@dataclass(frozen=True, eq=False)
class MakesTheCalls:
    """The expert of a task, for each form of many calls. It makes no mistakes."""

    functions: Sequence[Mapping[str, Any]]
    wanted: Sequence[Mapping[str, Any]]

    def in_form(self, form: str) -> Callable[[bool], Demonstration] | None:
        """The expert under protocols of a form; None for forms in which it cannot write."""
        if form not in FORMS:
            return None

        def demonstrate(make_mistake: bool) -> Demonstration:
            yield render_calls(form, right_calls(self.functions, self.wanted)[0])

        return demonstrate

    def __call__(self, make_mistake: bool) -> Demonstration:
        """The expert in JSON."""
        yield render_calls("calls_json", right_calls(self.functions, self.wanted)[0])

    def right_turns(self, form: str) -> list[str]:
        """Turns that solve the task, each an episode of its own."""
        turns = [render_calls(form, calls) for calls in right_calls(self.functions, self.wanted)]
        if form == "calls_python" and self.wanted:
            turns.append(_as_program(right_calls(self.functions, self.wanted)[0]))
        return turns if self.wanted else [*turns, "None of the functions fits."]

    def wrong_turns(self, form: str) -> list[str]:
        """Turns that must not solve the task: those of :func:`wrong_calls` that change the first call, and texts."""
        name = self.functions[0]["name"]
        wrong = [render_calls(form, calls) for calls in wrong_calls(self.functions, self.wanted, first_only=True)]
        unreadable = [_UNREADABLE[form].format(name=name)] if self.wanted or form != "tools" else []
        texts = ["I will do that."] if self.wanted else []
        return [*wrong, *unreadable, *texts, *(self._code_without_calls(name) if form == "calls_python" else [])]

    def _code_without_calls(self, name: str) -> list[str]:
        """Code that makes no call that is right."""
        right = render_calls("calls_python", right_calls(self.functions, self.wanted)[0])
        return [*([f"print({right!r})"] if self.wanted else []), f"{name}(undefined_7919)"]


def _as_program(calls: Calls) -> str:
    """A block of code that makes the calls with arguments from variables."""
    lines = [f"arguments = {given!r}\n{name}(**arguments)" for name, given in calls]
    return "\n".join(["I make the calls.", "```python", *lines, "```"])


def record(calls: Calls) -> str:
    """Calls in the form that the grader ``calls`` reads."""
    return json.dumps({"calls": [{"name": name, "arguments": given} for name, given in calls]}, ensure_ascii=False)


def right_calls(functions: Sequence[Mapping[str, Any]], wanted: Sequence[Mapping[str, Any]]) -> list[Calls]:
    """Lists of calls that are right; of several calls also in the reversed order."""
    schemas = {one["name"]: one["parameters"] for one in functions}
    number = max([1, *(_variants(members) for call in wanted for members in call.values())])
    found = [
        [(name, _chosen(members, schemas[name], turn)) for call in wanted for name, members in call.items()]
        for turn in range(number)
    ]
    return [*found, *([found[0][::-1]] if len(wanted) > 1 else [])]


def _variants(value: Any) -> int:
    """The largest number of accepted values within."""
    if isinstance(value, dict):
        lists = [one if isinstance(one, list) else [one] for one in value.values()]
        return max([1, *map(len, lists), *(_variants(part) for one in lists for part in one)])
    return max([1, *map(_variants, value)]) if isinstance(value, list) else 1


def _chosen(members: Mapping[str, Any], schema: Mapping[str, Any], turn: int) -> dict[str, Any]:
    """Arguments, each with one of its accepted values."""
    required, chosen = schema.get("required") or (), {}
    properties = schema.get("properties") or {}
    for name, accepted in members.items():
        values = accepted if isinstance(accepted, list) else [accepted]
        values = [one for one in values if one != ""] or ([""] if name in required else [])
        places = [*values, *([None] if "" in accepted and name not in required else [])]
        place = turn % max(1, len(places))
        if place < len(values):
            chosen[name] = _value(values[place], properties.get(name, {}), turn)
    return chosen


def _value(wanted: Any, schema: Mapping[str, Any], turn: int) -> Any:
    if isinstance(wanted, dict):
        return _chosen(wanted, schema, turn)
    if isinstance(wanted, list):
        return [_value(one, schema.get("items") or {}, turn) for one in wanted]
    return wanted


def wrong_calls(
    functions: Sequence[Mapping[str, Any]], wanted: Sequence[Mapping[str, Any]], *, first_only: bool = False
) -> Iterator[Calls]:
    """Lists of calls that are wrong in one point.

    Args:
        first_only: change only the first call and, of each kind of change, its first argument.
    """
    if not wanted:
        yield [_made_up(functions[0])]
        return
    base = right_calls(functions, wanted)[0]
    yield base[:-1]
    yield [*base, base[-1]]
    yield [("no_such_function", base[0][1]), *base[1:]]
    schemas = {one["name"]: one["parameters"] for one in functions}
    for place, (name, given) in enumerate(base[:1] if first_only else base):
        changes = _changes(given, wanted[place][name], schemas[name])
        for others in changes.values():
            for other in others[:1] if first_only else others:
                yield [*base[:place], (name, other), *base[place + 1 :]]


def _changes(
    given: Mapping[str, Any], accepted: Mapping[str, Any], schema: Mapping[str, Any]
) -> dict[str, list[dict[str, Any]]]:
    """Arguments that are wrong in one point, by the kind of the point."""
    properties = schema.get("properties") or {}
    return {
        "invented": [{**given, "invented_7919": 1}],
        "missing": [
            {key: value for key, value in given.items() if key != name}
            for name in schema.get("required") or ()
            if name in given
        ],
        "changed": [
            {**given, name: other}
            for name, value in given.items()
            if (other := _another(value, accepted[name])) not in accepted[name]
            and other != properties.get(name, {}).get("default")
        ],
        "typed": [
            {**given, name: other}
            for name, value in given.items()
            for other in _of_another_type(value, properties.get(name, {}))
            if not any(other == one and type(other) is type(one) for one in accepted[name])
        ],
    }


def _another(value: Any, accepted: Sequence[Any] = ()) -> Any:
    """A value of the same type that is none of the accepted ones; a truth value may be among them."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        numbers = [one for one in accepted if isinstance(one, int | float)]
        return max([value, *numbers]) + 1
    if isinstance(value, list):
        return [*value, _another(value[-1]) if value else _ELSE]
    if isinstance(value, dict):
        return {**value, "invented_7919": 1}
    return _another_text(value) if isinstance(value, str) else _ELSE


def _another_text(text: str) -> str:
    """A near miss: another sign or another last digit, where there is one."""
    if "+" in text:
        return text.replace("+", "-", 1)
    digits = list(re.finditer(r"\d", text))
    if not digits:
        return _ELSE
    last = digits[-1]
    return f"{text[: last.start()]}{(int(last[0]) + 1) % 10}{text[last.end() :]}"


def _of_another_type(value: Any, schema: Mapping[str, Any]) -> list[Any]:
    if isinstance(value, bool):
        return [str(value), int(value)]
    if isinstance(value, int):
        return [str(value), *([float(value)] if schema.get("type") == "integer" else [])]
    if isinstance(value, float):
        return [str(value)]
    return [7919] if isinstance(value, str) or value is None else [_ELSE]


def _made_up(function: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """A call with a value for every required argument."""
    values = {"integer": 1, "float": 1.5, "boolean": True, "array": [], "tuple": [], "dict": {}}
    parameters = function["parameters"]
    required = parameters.get("required") or ()
    return function["name"], {one: values.get(parameters["properties"][one]["type"], _ELSE) for one in required}
