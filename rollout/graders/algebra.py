"""Compares mathematical answers by symbolic algebra (math-verify); runs in a grader process only.

Contract: :func:`compare` returns ``[kind, reason]``. math-verify's own time limits are off: they use SIGALRM, work in
the main thread alone and answer "not equal" in silence; the process is limited instead. math-verify also takes an
exception for "not equal". Here, running out of memory, of the stack or of the range of numbers while two answers are
compared is no verdict. So is an expression whose value would have more than 20,000 digits: it is recognised before it
is computed.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable
from typing import Any

import math_verify.grader as comparison
from math_verify import LatexExtractionConfig, parse, verify
from math_verify.parser import ExprExtractionConfig
from sympy import Add, Basic, Float, Integer, Mul, Pow, Rational, factorial, factorial2, preorder_traversal, simplify

from rollout.graders import math_text

MOST_DIGITS = 20_000
MOST_PARTS = 2_000
_SMALL = 1e-4
_BASE = re.compile(r"([0-9A-Z]+)_\{?(?:\\text\{)?\s*(\w+)\s*\}*")
_EXHAUSTED = (MemoryError, RecursionError, OverflowError)
_exhausted: list[BaseException] = []

logging.disable(logging.WARNING)  # it warns of its switched-off time limits


def _noting(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with a note of each exception that means "not decided" and not "not equal"."""

    def noted(*arguments: Any, **named: Any) -> Any:
        try:
            return function(*arguments, **named)
        except _EXHAUSTED as fault:
            _exhausted.append(fault)
            raise

    return noted


for _name in ("simplify", "solve"):  # math-verify swallows what these raise
    setattr(comparison, _name, _noting(getattr(comparison, _name)))


def warm_up() -> None:
    """Fills the caches of the parser, which forks share."""
    for answer in (
        "\\frac{1}{2}x^2+\\sqrt{3}",
        "(1,2]\\cup[3,\\infty)",
        "\\begin{pmatrix}1\\\\2\\end{pmatrix}",
        "x=5",
        "1,2",
    ):
        compare(answer, answer + "+1")


def compare(proposed: str, reference: str) -> tuple[str, str]:
    """Whether two normalised answers (:func:`rollout.graders.math_text.normalise`) are equal, and why.

    Returns:
        ``right``, ``wrong`` or ``none`` with a reason in a few words.
    """
    _exhausted.clear()
    based = _compare_bases(proposed, reference)
    if based is not None:
        return based
    wanted, found = _read(reference), _read(proposed)
    if not wanted:
        return "none", "the reference cannot be read as mathematics"
    if not found:
        return "wrong", "it cannot be read as mathematics"
    for expression in (*wanted, *found):
        if size := _too_large(expression):
            return "none", size
    if verify(wanted, found, float_rounding=6, numeric_precision=15, timeout_seconds=None, raise_on_error=True):
        if len(wanted) == len(found) == 1 and _differ_in_size(wanted[0], found[0]):
            return "wrong", "it does not equal the reference"
        return "right", "it equals the reference"
    for left in wanted:
        for right in found:
            _noting(_difference)(left, right)
    if _exhausted:
        return "none", f"the comparison failed with {type(_exhausted[0]).__name__}"
    return "wrong", "it does not equal the reference"


def _differ_in_size(wanted: Any, found: Any) -> bool:
    """Whether two numbers that both are 0 in six decimals, as math-verify compares them, are of another size."""
    if not all(isinstance(one, Basic) and getattr(one, "is_number", False) for one in (wanted, found)):
        return False
    largest = max(abs(wanted.evalf(15)), abs(found.evalf(15)))
    return bool(0 < largest < _SMALL) and (wanted - found).equals(0) is False


def _read(answer: str) -> list[Any]:
    """What math-verify makes of an answer: expressions, never its text."""
    latex = math_text.to_latex(answer)
    # of LaTeX that it cannot read, the plain reader would take a number out of its middle
    forms = [LatexExtractionConfig()] if "\\" in latex else [LatexExtractionConfig(), ExprExtractionConfig()]
    found = parse(
        f"${latex}$",
        forms,
        fallback_mode="no_fallback",
        parsing_timeout=None,
        raise_on_error=True,
    )
    return [expression for expression in found if isinstance(expression, Basic) or hasattr(expression, "shape")]


def _compare_bases(proposed: str, reference: str) -> tuple[str, str] | None:
    """``2516_8``: digits and base are compared as text, which the parser would read without the base."""
    wanted = _BASE.fullmatch(math_text.squeezed(reference))
    if wanted is None:
        return None
    found = _BASE.fullmatch(math_text.squeezed(proposed))
    digits, base = (found[1], found[2]) if found else (math_text.squeezed(proposed), wanted[2])
    if (digits, base) == (wanted[1], wanted[2]):
        return "right", "it has the digits of the reference"
    return "wrong", f"it is not {wanted[1]} in base {wanted[2]}"


def _difference(left: Any, right: Any) -> None:
    """Computed again after a "not equal", since math-verify hides what it raises."""
    try:
        (left - right).evalf(chop=True, n=15)
    except _EXHAUSTED:
        raise
    except Exception:  # sets, relations and the like have no difference
        return


def _too_large(expression: Any) -> str | None:
    if not isinstance(expression, Basic):
        return None
    for number, _ in enumerate(preorder_traversal(expression)):
        if number > MOST_PARTS:
            return f"it has more than {MOST_PARTS:,} parts"
    if _digits(expression) > MOST_DIGITS:
        return f"it holds a number of more than {MOST_DIGITS:,} digits"
    return None


def _digits(part: Any) -> float:
    """An upper bound of the decimal digits of the largest number in an expression; infinity when it overflows."""
    if isinstance(part, Integer):
        return part.p.bit_length() * 0.30103
    if isinstance(part, Rational):
        return max(part.p.bit_length(), part.q.bit_length()) * 0.30103
    if isinstance(part, Float):
        return abs(part._mpf_[2] + part._mpf_[3]) * 0.30103  # exponent and size of the mantissa, in bits
    inner = [_digits(argument) for argument in getattr(part, "args", ())]
    most = max(inner, default=1.0)
    try:
        if isinstance(part, Pow) and part.args[1].is_number:
            exponent = part.args[1]
            times = abs(float(exponent)) if isinstance(exponent, Rational) else 10.0 ** inner[1]
            return max(most, max(inner[0], 1.0) * times)
        if isinstance(part, factorial | factorial2):
            return 10.0 ** inner[0] * max(inner[0], 1.0)
    except OverflowError:
        return math.inf
    return sum(inner) if isinstance(part, Mul | Add) and part.is_number else most


def same_value(proposed: str, reference: str) -> bool:
    """Whether the difference of two expressions simplifies to zero: the reference system's rule."""
    wanted, found = _read(reference), _read(proposed)
    if len(wanted) != 1 or len(found) != 1 or _too_large(wanted[0]) or _too_large(found[0]):
        return False
    return bool(simplify(found[0] - wanted[0]) == 0)
