"""The verbs ``codeact bank``: checks of a trajectory bank. They read and change nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from codeact_train.system.exit_codes import CHECK_FAILED
from launch.console import done

bank_app = typer.Typer(no_args_is_help=True, help="Check a trajectory bank.", rich_markup_mode="markdown")


@bank_app.callback()
def _group() -> None:
    """Keeps ``verify`` a command of its own although it is the only one."""


@bank_app.command()
def verify(
    path: Annotated[Path, typer.Argument(help="A bank, one of its files, or a run folder, such as runs/demo.")],
) -> None:
    """Name each line of a bank that cannot be read, with the reason. Exit code 3 when there is one."""
    from rollout import verify_bank

    failed = False
    for found in _banks(path):
        sound, bad = verify_bank(found)
        for line in bad:
            typer.echo(str(line))
        if bad:
            lines = "1 line is" if len(bad) == 1 else f"{len(bad)} lines are"
            typer.echo(f"{lines} bad and {sound} sound in {found}; readers leave bad lines out, nothing was changed")
        else:
            done(f"{sound} trajectories in {found}, each line sound")
        failed = failed or bool(bad)
    if failed:
        raise typer.Exit(CHECK_FAILED)


def _banks(path: Path) -> list[Path]:
    """The banks at ``path``.

    Raises:
        ValueError: there is none.
    """
    inside = [path / "bank", path / "eval" / "bank", path / "eval" / "engines" / "bank"]
    found = [bank for bank in inside if bank.is_dir()]
    if path.is_file() or (not found and any(path.glob("*.jsonl"))):
        return [path]
    if not found:
        raise ValueError(f"bank verify: there is no bank in {path}; give a folder with *.jsonl files or a run folder")
    return found
