"""The rules of the reference system's graders, where ours differ: for comparing verdicts, not for training.

Contract: :data:`LEGACY` has, under the name of a grader, a function with its signature that follows the rule of MINT
(arXiv 2309.10691), whose code the paper's data were graded with. The rules are worked out from 9,677 recorded runs;
``codeact tasks replay`` says how many of those they repeat. Their defects are kept:

- ``short_answer``: the reference as a substring accepts "no" inside "know"; the tolerance of a negative number is
  negative; "the answer is 16" is refused for "16.0".
- ``choice``: of the letters only "a)" is read. Else the right letter anywhere in the text is enough, and the right
  option's text is refused when it contains the text of a wrong one ("120" and "1") or is within 5 % of its number.
- ``last_number``: the last run of digits, without sign, decimals and thousands commas.
- ``theoremqa``: signs such as π are cut off a number.
- ``unit_tests``: the code of the prompt does not precede the answer, so HumanEval's answers fail without its imports;
  10 s are for all tests together.
- ``stdin_tests``: 11 s are for all tests together, and no tests is a pass (:mod:`rollout.graders.code`).
- ``apibank``: the call that regular expressions find; the tokens of agenda and reminders are not compared
  (:mod:`rollout.graders.apibank`).
- ``calls``: that of BFCL's checker (:mod:`rollout.graders.legacy_calls`).
- ``math``: :mod:`rollout.graders.legacy_math`; ``number``: as ``short_answer``.
- ``m3tooleval``: the rule of M3ToolEval (:func:`rollout.graders.m3tooleval.legacy_m3tooleval`).

Nothing here runs the text of a model: an answer that MINT passes to ``eval`` is read as arithmetic.
"""

from __future__ import annotations

import ast
import json
import math
import operator
import re
from collections.abc import Callable
from typing import Any

from rollout.graders.apibank import legacy_apibank
from rollout.graders.code import legacy_stdin_tests, legacy_unit_tests
from rollout.graders.legacy_calls import legacy_calls
from rollout.graders.legacy_math import math_answer
from rollout.graders.m3tooleval import legacy_m3tooleval
from rollout.graders.verdict import Grader, Verdict, right, wrong

_TOLERANCE = 0.05
_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}


def short_answer(proposed: str, reference: str) -> Verdict:
    """Both are numbers: within 5 % of the signed reference. Else the reference is a substring, in lower case."""
    said = proposed.lower().strip()
    try:
        wanted, value = float(reference), float(said)
    except ValueError:
        return right("it contains the reference") if reference in said else wrong("it does not contain the reference")
    near = abs(wanted - value) <= _TOLERANCE * wanted
    return right("it is within 5 %") if near else wrong("it is not within 5 % of the signed reference")


def last_digits(proposed: str, reference: str) -> Verdict:
    """The last run of digits is the reference's, as the paper evaluates GSM8K."""
    found = re.findall(r"\d+", proposed)
    same = bool(found) and found[-1] == reference
    return right("its last digits are the reference") if same else wrong("its last digits are not the reference")


def choice(proposed: str, reference: str) -> Verdict:
    """The letter anywhere in the text, or the text of the right option without that of a wrong one."""
    task = json.loads(reference)
    letter = task["letter"]
    options = [str(option).partition(")")[0].strip(". ").lower() for option in task["options"]]
    said = proposed.lower().strip()
    said = "a" if "a)" in said or "a )" in said else said
    if letter in said:
        return right(f"it contains the letter {letter}")
    own = options.pop(ord(letter) - ord("a"))
    for other in options:
        if _similar(other, said):
            return wrong(f"it resembles the wrong option {other!r}")
    return right("it contains the option") if _similar(own, said) else wrong("it does not contain the option")


def _similar(option: str, said: str) -> bool:
    near = option.isdigit() and said.isdigit() and abs(float(option) - float(said)) <= _TOLERANCE * float(option)
    return near or option in said


def theoremqa(proposed: str, reference: str) -> Verdict:
    """A value is cut out of the text, evaluated, and compared by the type of the answer."""
    answer = json.loads(reference)["answer"]
    text = _cut_out(proposed.strip())
    value = _evaluate(text)
    if isinstance(answer, bool):
        same = value is answer or text == str(answer)
    elif isinstance(answer, str):
        same = text.strip("\"'() ").lower().startswith(answer.lower())
    elif isinstance(answer, list):
        same = _same_list(value, answer)
    else:
        same = _same_number(value, answer)
    return right(f"{text[:60]!r} is read as the answer") if same else wrong(f"{text[:60]!r} is not {answer}")


def _cut_out(text: str) -> str:
    """The part of an answer that is evaluated: after the last equals sign, without signs and units."""
    for sign in ("=", "≈"):
        text = text.rpartition(sign)[2].strip() if sign in text else text
    text = re.sub(r"[`$°]", "", text).strip()
    truth = {"true": "True", "yes": "True", "false": "False", "no": "False"}.get(text.lower(), text)
    if "True" in truth or "False" in truth:
        return "True" if "True" in truth else "False"
    text = text.replace("approximately", "").strip().split(" or ")[0]
    for form in (r"([-+]?[\d,]*\.*\d+) [^0-9 ]+", r"[^0-9 ]+ ([-+]?[\d,]*\.*\d+)", r"([-+]?[\d,]*\.*\d+)\D{1,2}"):
        found = re.fullmatch(form, text)
        text = found[1] if found else text
    text = re.sub(r"10\^(-?\d+)", r"1e\1", text).replace(" x ", "*").replace(" × ", "*")
    return text.replace(",", "") if re.fullmatch(r"[-+\d,.]+", text) else text


def _evaluate(text: str) -> Any:
    """The value of arithmetic on numbers and lists of them; None for anything else."""
    try:
        return _value(ast.parse(text[:500], mode="eval").body)
    except (ArithmeticError, MemoryError, RecursionError, SyntaxError, TypeError, ValueError):
        return None


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float | str):
        return node.value
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        return [_value(part) for part in node.elts]
    if isinstance(node, ast.UnaryOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](float(_value(node.operand)))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        return math.pow(_value(node.left), _value(node.right))
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](float(_value(node.left)), float(_value(node.right)))
    raise ValueError(f"{type(node).__name__} is not arithmetic")


def _same_number(value: Any, answer: float) -> bool:
    """4 % for a float, the nearest whole number for an int."""
    if isinstance(value, bool | list | str) or value is None or not math.isfinite(value):
        return False
    return round(value) == answer if isinstance(answer, int) else abs(value - answer) <= 0.04 * abs(answer)


def _same_list(value: Any, answer: list[float]) -> bool:
    """The same numbers in any order."""
    if not isinstance(value, list) or len(value) != len(answer):
        return False
    if not all(isinstance(part, int | float) for part in value):
        return False
    return all(_same_number(*pair) for pair in zip(sorted(value), sorted(answer), strict=True))


LEGACY: dict[str, Grader] = {
    "apibank": legacy_apibank,
    "calls": legacy_calls,
    "choice": choice,
    "m3tooleval": legacy_m3tooleval,
    "last_number": last_digits,
    "math": math_answer,
    "number": short_answer,
    "short_answer": short_answer,
    "stdin_tests": legacy_stdin_tests,
    "theoremqa": theoremqa,
    "unit_tests": legacy_unit_tests,
}
"""Grader name → the reference's rule. A grader that is not here has the reference's rule."""
