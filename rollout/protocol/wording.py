"""The texts that follow from a cell's result: one wording for collection, training and serving.

Contract: plain functions of a :class:`sandbox.CellResult`. They depend on no protocol; limits are arguments.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from sandbox import CellResult, visible_text


def output_text(result: CellResult, no_output: str, most_chars: int) -> str:
    """The output of a cell as text: what it printed, its value, and one line for an exception.

    Output of earlier cells that came late is marked. The text has no terminal sequences. A text that is too long
    keeps its head and its tail.
    """
    parts = [result.stdout.rstrip("\n"), result.stderr.rstrip("\n"), result.value or ""]
    if result.error_name:
        parts.append(f"{result.error_name}: {result.error_value}")
    for late in result.late:
        source = "an earlier cell" if late.cell is None else f"cell {late.cell}"
        parts += [f"[printed late, by {source}]", late.text.rstrip("\n")]
    if result.missing:
        parts.append(f"[{result.missing}]")
    if result.status not in ("ok", "error"):
        parts.append(f"[{result.status.replace('_', ' ')}] {_state_after(result)}")
    text = visible_text("\n".join(part for part in parts if part))
    return _shorten(text or no_output, most_chars)


def tool_lines(tools: Mapping[str, Callable[..., Any]]) -> list[str]:
    """One line a tool, made from its signature and the first line of its docstring."""
    return [f"- {name}{inspect.signature(tool, eval_str=True)}: {summary(tool)}" for name, tool in tools.items()]


def summary(tool: Callable[..., Any]) -> str:
    """The first line of a tool's docstring."""
    return (inspect.getdoc(tool) or "").partition("\n")[0]


def _state_after(result: CellResult) -> str:
    """The state that the next cell finds after a cell that was stopped."""
    if result.rolled_back:
        return "Variables and files are as before this cell."
    return "Variables are kept." if result.state_survived else "All variables are lost."


def _shorten(text: str, limit: int) -> str:
    """Head and tail, with the number of omitted characters between them."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n[… {len(text) - 2 * half} characters left out …]\n{text[-half:]}"
