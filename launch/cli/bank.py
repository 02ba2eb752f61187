"""The verbs ``codeact bank``: a trajectory bank checked, counted, exported, judged again. They change nothing in it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from codeact_train.system.exit_codes import CHECK_FAILED
from launch.cli.bank_data import banks_in, export, stats
from launch.cli.bank_regrade import regrade
from launch.console import done

bank_app = typer.Typer(
    no_args_is_help=True, help="Check, export and judge a trajectory bank.", rich_markup_mode="markdown"
)


@bank_app.command()
def verify(
    path: Annotated[Path, typer.Argument(help="A bank, one of its files, or a run folder, such as runs/demo.")],
) -> None:
    """Name each line of a bank that cannot be read, with the reason. Exit code 3 when there is one."""
    from rollout import verify_bank

    failed = False
    for found in banks_in(path, "verify"):
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


bank_app.command()(stats)
bank_app.command()(export)
bank_app.command()(regrade)
