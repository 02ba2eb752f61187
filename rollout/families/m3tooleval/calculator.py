"""The function ``calculator``: what is no arithmetic, or fails, is answered with a sentence, as the original does."""

from __future__ import annotations

import builtins
from typing import Any

from rollout.families.arithmetic import evaluate


def calculate(expression: str) -> Any:
    """The value of an expression (:func:`rollout.families.arithmetic.evaluate`).

    The bare name of a function of Python gives the text that Python shows for it: the original evaluates the
    expression as Python, and this is what a model sees of it there.
    """
    found = getattr(builtins, expression.strip(), None)
    if callable(found):
        return str(found)
    try:
        return evaluate(expression)
    except ValueError:
        return f"Failed to evaluate expression: {expression}"
