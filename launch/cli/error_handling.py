"""Turns exceptions into one sentence on standard error and an exit code."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import typer
from pydantic import ValidationError
from typer.core import TyperGroup

from codeact_train.system import exit_codes, failures
from launch.console import refuse, say

if TYPE_CHECKING:
    from launch.submit.torchrun import TrainingStopped

INTERRUPTED = 75
USAGE_ERROR = 2


class ErrorHandlingGroup(TyperGroup):
    """Runs a command; errors that the user can correct end it without a traceback."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        """Runs the command."""
        from launch.submit.torchrun import TrainingStopped

        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            say("interrupted; finished work is kept, the same command resumes")
            raise typer.Exit(INTERRUPTED) from None
        except TrainingStopped as stopped:
            raise typer.Exit(_exit_code(stopped)) from None
        except Exception as error:
            sentence = _sentence(error)
            if sentence is None:
                raise
            refuse(sentence)
            raise typer.Exit(USAGE_ERROR) from None


def _sentence(error: Exception) -> str | None:
    """What to say about an error; ``None`` for a bug, which keeps its traceback."""
    if isinstance(error, ValidationError):
        from sandbox.validation import format_errors

        return format_errors(f"{error.title}: ", error)
    return str(error) if isinstance(error, ValueError) else failures.sentence(error)


def _exit_code(stopped: TrainingStopped) -> int:
    """The command's exit code for the trainer's; says how to resume unless the trainer has explained its end."""
    explained = (exit_codes.BAD_CONFIG, exit_codes.CHECK_FAILED, exit_codes.CORRUPT_STATE)
    if stopped.code in explained:
        return stopped.code
    how = f"with exit code {stopped.code}"
    if stopped.code == -signal.SIGKILL:
        how = "by SIGKILL, which Linux sends when memory runs out"
    elif stopped.code < 0:
        how = f"by {signal.Signals(-stopped.code).name}"
    say(f"the trainer ended {how}; {stopped.advice}")
    return stopped.code if stopped.code == INTERRUPTED else 1
