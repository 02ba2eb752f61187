"""Progress lines of a command on standard error.

Contract: texts appear as they are given. Brackets of a path or of ``pip install 'name[extra]'`` are not rich markup.
"""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

_console = Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)


def say(line: str) -> None:
    """Prints a line of progress."""
    _console.print(line)


def heading(line: str) -> None:
    """Prints the name of a stage."""
    _console.print(Text(line, "bold"))


def done(sentence: str, seconds: float | None = None) -> None:
    """Prints the result of a stage and its duration."""
    took = "" if seconds is None else f" ({seconds:.0f} s)"
    _console.print(Text.assemble("  ", ("✓", "green"), f" {sentence}", (took, "dim")))


def refuse(message: str) -> None:
    """Prints an error, one line for each of its lines."""
    for line in message.splitlines():
        _console.print(Text.assemble(("error:", "bold red"), f" {line}"))
