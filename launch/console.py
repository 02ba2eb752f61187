"""What a person reads while a command works: one line a step, on standard error."""

from __future__ import annotations

from rich.console import Console

_console = Console(stderr=True, highlight=False, soft_wrap=True)


def say(line: str) -> None:
    """A line on what is being done; rich markup is allowed."""
    _console.print(line)


def done(sentence: str, seconds: float | None = None) -> None:
    """What a stage came to, and how long it took."""
    took = "" if seconds is None else f" [dim]({seconds:.0f} s)[/dim]"
    _console.print(f"  [green]✓[/green] {sentence}{took}")


def refuse(message: str) -> None:
    """Why a command does not do what was asked."""
    for line in message.splitlines():
        _console.print(f"[bold red]error:[/bold red] {line}", markup=True, soft_wrap=True)
