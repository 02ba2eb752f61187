"""Turns exceptions into one sentence on standard error and an exit code."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from codeact_train import exit_codes
from launch.console import refuse, say

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
            raise typer.Exit(_exit_code(stopped.code)) from None
        except ValueError as error:
            refuse(str(error))
            raise typer.Exit(USAGE_ERROR) from None


def _exit_code(trainer_code: int) -> int:
    """The command's exit code for the trainer's; says how to resume unless the trainer has explained its end."""
    explained = (exit_codes.BAD_CONFIG, exit_codes.CHECK_FAILED, exit_codes.CORRUPT_STATE)
    if trainer_code in explained:
        return trainer_code
    say(f"the trainer ended with exit code {trainer_code}; the same command resumes from the last checkpoint")
    return trainer_code if trainer_code == INTERRUPTED else 1
