"""Progress lines of a command on standard error."""

from __future__ import annotations

from rich.console import Console

_console = Console(stderr=True, highlight=False, soft_wrap=True)


def say(line: str) -> None:
    """Prints a line of progress; rich markup is allowed."""
    _console.print(line)


def done(sentence: str, seconds: float | None = None) -> None:
    """Prints the result of a stage and its duration."""
    took = "" if seconds is None else f" [dim]({seconds:.0f} s)[/dim]"
    _console.print(f"  [green]✓[/green] {sentence}{took}")


def refuse(message: str) -> None:
    """Prints an error, one line for each of its lines."""
    for line in message.splitlines():
        _console.print(f"[bold red]error:[/bold red] {line}", markup=True, soft_wrap=True)
