"""Right answers of tasks, and wrong answers made from them, by grader.

Contract: :func:`answers_of` is a pure function of the task. Every right answer is one that a person accepts, no wrong
one is; near misses are preferred, since a careless grader accepts those. A grader
without a form of its own gets the reference as the right answer and two empty answers as wrong ones.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from rollout.checks.validate.values import near_misses, written
from rollout.families.apibank.dialogue import Call
from rollout.families.apibank.players import wrong_records
from rollout.families.base import Task
from rollout.families.bfcl.players import record, right_calls, wrong_calls
from rollout.graders.m3tooleval import expected_values
from rollout.registry import GRADERS

EMPTY = ("", "I do not know.")
"""Wrong for every task."""
WRONG_PROGRAM_S = 2
"""Seconds that each test of a wrong program may take."""
_LETTERS = "abcdefghij"


@dataclass(frozen=True)
class Answers:
    """The right and the wrong answers of a task. Without a right one the task cannot be checked."""

    right: tuple[str, ...]
    wrong: tuple[str, ...]
    wrong_reference: str | None = None
    """What wrong answers are judged by, where it is not the task's answer: tests with a shorter time limit, since a
    program that is made wrong may never end."""


@dataclass(frozen=True)
class AnswerForm:
    """How answers are made for a grader; ``how`` says it in words, for the documentation."""

    make: Callable[[Task], Answers]
    how: str


def answers_of(task: Task) -> Answers:
    """The answers that a task is checked with; none where a judge decides, since a check has none."""
    if getattr(GRADERS.get(task.grader), "needs_judge", False):
        return Answers((), ())
    form, made = FORMS.get(task.grader), Answers((task.solution or task.answer,), ())
    if form:
        with suppress(ValueError, KeyError, TypeError, IndexError):  # an answer of another form; its grader names it
            made = form.make(task)
    return replace(made, wrong=(*made.wrong, *EMPTY))


def _number(task: Task) -> Answers:
    value = float(task.answer)
    wrong = [plain(value + max(1.0, abs(value) * 0.1))]
    if value:
        wrong.append(plain(-value))
    return Answers((task.answer,), tuple(wrong))


def plain(value: float) -> str:
    """``5`` for 5.0."""
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)


def _last_number(task: Task) -> Answers:
    """The answer at the end of a text that reasons; a wrong one does not become right by the right one before it."""
    value = _number(task)
    right = (f"40 + 2 = 42, and 1,000.\nThe answer is {task.answer}.", f"It is ${task.answer}")
    return Answers(right, tuple(f"First {task.answer}. The answer is {wrong}." for wrong in value.wrong))


def _text(task: Task) -> Answers:
    return Answers((task.answer,), (f"not {task.answer}", "zebra 7919"))


def _short_answer(task: Task) -> Answers:
    if task.answer.strip().lower() in ("yes", "no"):
        return _yes_no(task)
    try:
        return _number(task)
    except ValueError:
        cut = re.sub(r"\w\W*$", "", task.answer)  # inside its last word
        return Answers((task.answer,), ("zebra 7919", *([cut] if cut != task.answer else [])))


def _yes_no(task: Task) -> Answers:
    other = "no" if task.answer.strip().lower() == "yes" else "yes"
    return Answers((task.answer, f"The answer is {task.answer}."), (other, "maybe"))


def _choice(task: Task) -> Answers:
    known = json.loads(task.answer)
    letter, options = known["letter"].lower(), known["options"]
    own = options[_LETTERS.index(letter)].strip()
    names = set(_LETTERS[: len(options)])
    right = [letter, f"({letter.upper()})", f"The answer is {letter.upper()}."]
    wrong = sorted(names - {letter})
    if own.lower() not in names:
        right.append(own)
        wrong += [option for option in options if option.strip().lower() not in {own.lower(), *names}]
    return Answers(tuple(right), tuple(wrong))


def _math(task: Task) -> Answers:
    """Without a digit there is no near miss, and another word or number is wrong."""
    digit = re.search(r"\d", task.answer)
    if not digit:
        return Answers((task.answer,), ("7919", r"\text{zebra}"))
    other = str((int(digit[0]) + 1) % 10)
    return Answers((task.answer,), (task.answer[: digit.start()] + other + task.answer[digit.end() :], "7919"))


def _theoremqa(task: Task) -> Answers:
    known = json.loads(task.answer)
    answer, form = known["answer"], known["type"]
    if form == "bool":
        return Answers((str(answer),), (str(not answer),))
    if form == "option":
        letter = answer.strip("() ").lower()
        return Answers((answer, letter), tuple(sorted(set("abcd") - {letter})))
    if form.startswith("list"):
        return Answers((str(answer),), (str([_away(answer[0]), *answer[1:]]), str([*answer, 7919])))
    return Answers((str(answer),), (str(_away(answer)),))


def _away(value: Any) -> Any:
    """A number clearly beyond every tolerance."""
    return value + 1 + abs(value) if isinstance(value, int) else value * 1.2 + (0.0 if value else 1.0)


def _denotation(task: Task) -> Answers:
    items = json.loads(task.answer)
    wrong = [json.dumps([*items, "zebra 7919"]), json.dumps(["zebra 7919", *items[1:]])]
    if len(set(items)) > 1:
        wrong.append(json.dumps([item for item in items if item != items[0]]))
    alone = (items[0],) if len(items) == 1 else ()
    return Answers((json.dumps(items, ensure_ascii=False), *alone), tuple(wrong))


def _sql_result(task: Task) -> Answers:
    known = json.loads(task.answer)
    if known.get("hash"):
        return Answers((known["hash"],), ("0" * len(known["hash"]),))
    labels = [str(label) for label in known["labels"]]
    return Answers((repr(labels),), (repr([*labels, "zebra 7919"]), repr(["zebra 7919", *labels[1:]])))


def _program(task: Task) -> Answers:
    right = (task.solution,) if task.solution else ()
    broken = without_results(task.solution)
    quick = json.dumps({**json.loads(task.answer), "timeout_s": WRONG_PROGRAM_S})
    return Answers(right, (broken,) if broken not in ("", task.solution) else (), quick)


def without_results(program: str) -> str:
    """The program with ``return None`` for each of its returns; empty when it has none or is not Python."""
    try:
        tree = ast.parse(program)
    except (SyntaxError, ValueError):
        return ""
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Return) and node.value is not None]
    for node in found:
        node.value = ast.Constant(None)
    return ast.unparse(tree) if found else ""


def _value(task: Task) -> Answers:
    (first, *others), decimals = expected_values(task.answer)
    right = [*written(first, decimals), *(text for value in others for text in written(value, None))]
    return Answers(tuple(dict.fromkeys(right)), tuple(near_misses(first, decimals)))


def _call(task: Task) -> Answers:
    record = json.loads(task.answer)
    call = Call(record["api_name"], record["input"], record["output"], record["exception"])
    return Answers((task.answer,), tuple(wrong_records(call)))


def _calls(task: Task) -> Answers:
    known = json.loads(task.answer)
    right = right_calls(known["functions"], known["calls"])
    wrong = wrong_calls(known["functions"], known["calls"])
    return Answers(tuple(map(record, right)), tuple(map(record, wrong)))


def _reasoning_gym(task: Task) -> Answers:
    return Answers((json.loads(task.answer)["answer"],), ("zebra 7919",))


def _reward(task: Task) -> Answers:
    return Answers((), ())


_BY_JUDGE = "none: a judge decides, and a check has none | none"
_PROGRAM = "the data set's program | the program with `return None` for each return; text that is no program"
FORMS: dict[str, AnswerForm] = {
    "number": AnswerForm(_number, "the number | the number and a tenth, at least 1, more; its negative"),
    "last_number": AnswerForm(_last_number, "the number at the end of a text | as `number`, after the right one"),
    "text": AnswerForm(_text, "the text | `not` before it; other words"),
    "exact": AnswerForm(_text, "the text | `not` before it; other words"),
    "short_answer": AnswerForm(_short_answer, "the answer | as `number` or `yes_no`; cut at its end; other words"),
    "yes_no": AnswerForm(_yes_no, "the word, also in a sentence | the other word; maybe"),
    "choice": AnswerForm(_choice, "the letter in three forms and the option's text | each other letter and option"),
    "math": AnswerForm(_math, "the LaTeX of the answer | its first digit and 1; another number or word"),
    "theoremqa": AnswerForm(_theoremqa, "the value | the other truth or letter; another number; a longer list"),
    "denotation": AnswerForm(_denotation, "the values | one more; another first one; one fewer"),
    "sql_result": AnswerForm(_sql_result, "the values or the digest | one more; another first one; another digest"),
    "unit_tests": AnswerForm(_program, _PROGRAM),
    "stdin_tests": AnswerForm(_program, _PROGRAM),
    "m3tooleval": AnswerForm(_value, "the value in several forms | another number, text, order, length or sign; cut"),
    "apibank": AnswerForm(_call, "the recorded call | another API; each argument changed; one missing; none; two"),
    "calls": AnswerForm(
        _calls,
        "every accepted value, calls in another order | an argument missing, changed, of another type or invented; "
        "another function; a call too many or too few",
    ),
    "reasoning_gym": AnswerForm(_reasoning_gym, "the generator's answer | other words"),
    "rating": AnswerForm(_reward, _BY_JUDGE),
    "rubric": AnswerForm(_reward, _BY_JUDGE),
    "environment": AnswerForm(_reward, "none: success comes from the environment | an answer"),
}
"""Grader → its form; ``how`` is ``right | wrong``."""
