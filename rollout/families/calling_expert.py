"""An expert that calls functions, and the turns of every protocol in which calls and answers are written.

Contract: a :data:`Player` yields calls and is sent their results; what it returns is the answer. It knows no protocol:
:class:`CallingExpert` writes its calls as code, as JSON or as text, so that one player shows a task in every form of
action. Where actions are code, the calls that are yielded together are one cell; else each is a turn. Pure text: it
runs nothing.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

from rollout.families.base import Demonstration


@dataclass(frozen=True)
class Call:
    """A call of a function of the task's toolset. ``args`` are JSON values."""

    tool: str
    args: tuple[Any, ...] = ()


Player = Generator[Sequence[Call], list[Any], str]
"""Yields calls that do not need one another's results, is sent their results, and returns the answer."""
_CODE, _CALLS = ("tags", "chat", "fenced", "action_code"), ("action_json", "action_text")
"""Forms of protocols whose actions are code, and single calls."""
_FENCED = "```python\n{}\n```"


@dataclass(frozen=True)
class CallingExpert:
    """The expert of a task whose functions answer it; a picklable value.

    Attributes:
        player: ``player(prompt)``, a function of a module.
        prompt: the task's prompt.
        texts: names of the functions that return text, which is shown without quotes.
    """

    player: Callable[[str], Player]
    prompt: str
    texts: frozenset[str] = frozenset()

    def __call__(self, make_mistake: bool) -> Demonstration:
        """The demonstration in tags; it makes no mistakes."""
        return self._demonstrate("tags")

    def in_form(self, form: str) -> Callable[[bool], Demonstration] | None:
        """The expert under a protocol of another form (:attr:`rollout.EpisodeProtocol.form`).

        None for native calls, for the one call of API-Bank, and for forms without actions.
        """
        if form not in (*_CODE, *_CALLS):
            return None

        def demonstrate(make_mistake: bool) -> Demonstration:
            return self._demonstrate(form)

        return demonstrate

    def _demonstrate(self, form: str) -> Demonstration:
        playing = self.player(self.prompt)
        try:
            calls = next(playing)
            while True:
                if form in _CALLS:
                    results = yield from self._one_by_one(calls, form)
                else:
                    results = json.loads((yield cell_turn(form, _cell(calls))))
                calls = playing.send(results)
        except StopIteration as ended:
            answer = str(ended.value)
        yield answer_turn(form, answer)

    def _one_by_one(self, calls: Sequence[Call], form: str) -> Generator[str, str, list[Any]]:
        """A turn for each call."""
        results: list[Any] = []
        for call in calls:
            shown = yield call_turn(form, call)
            results.append(shown if call.tool in self.texts else ast.literal_eval(shown.strip()))
        return results


def _cell(calls: Sequence[Call]) -> str:
    """Code that makes the calls and prints their results as JSON."""
    written = [f"{call.tool}({', '.join(map(repr, call.args))})" for call in calls]
    return "import json\nprint(json.dumps([\n    " + ",\n    ".join(written) + ",\n]))"


def cell_turn(form: str, code: str) -> str:
    """A turn that runs a cell.

    Raises:
        ValueError: actions of this form are no code.
    """
    if form in ("tags", "chat"):
        return f"<execute>\n{code}\n</execute>"
    if form == "fenced":
        return _FENCED.format(code)
    if form == "action_code":
        return f"Action:\n{_FENCED.format(code)}\nEnd Action"
    raise ValueError(f"actions of the form {form!r} are no code; use a protocol whose actions are code")


def call_turn(form: str, call: Call) -> str:
    """A turn that makes one call, in JSON or text.

    Raises:
        ValueError: actions of this form are no single calls in text.
    """
    if form == "action_json":
        return f"Action: {json.dumps({'tool': call.tool, 'args': list(call.args)})}\nEnd Action"
    if form == "action_text":
        return f"Action: {', '.join([call.tool, *map(repr, call.args)])} End Action"
    raise ValueError(f"actions of the form {form!r} are no calls in JSON or text; use action_json or action_text")


def answer_turn(form: str, answer: str) -> str:
    """A turn that proposes an answer."""
    if form.startswith("action_"):
        return f"Answer: {answer}"
    if form == "final":
        return f"#### {answer}"
    return answer if form in ("chat", "tools", "answer") else f"<solution>{answer}</solution>"
