"""The verbs ``codeact tasks``: the task families, their data sets and checks of both. They need no model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from launch.console import done

tasks_app = typer.Typer(
    no_args_is_help=True, help="Look at task families and check their data sets.", rich_markup_mode="markdown"
)

DataRootOption = Annotated[
    Path | None,
    typer.Option("--data-root", help="Folder of data sets; by default that of CODEACT_DATA or ~/.cache/codeact/data."),
]


@tasks_app.command("list")
def list_families(data_root: DataRootOption = None) -> None:
    """List the families that read a data set, with each split and whether its file is on this machine."""
    from rollout.families import data_families

    for name, family in data_families().items():
        typer.echo(f"{name}: {family.info.title}; {family.info.licence}")
        for split, described in family.info.splits.items():
            here = "here" if family.is_here(split, data_root) else "not on this machine"
            typer.echo(f"  {split}: {described} ({here})")


@tasks_app.command()
def fetch(
    family: Annotated[str, typer.Argument(help="Name of a family, such as gsm8k.")],
    split: Annotated[str | None, typer.Option(help="Only the files of this split.")] = None,
    from_hub: Annotated[bool, typer.Option("--hub", help="Take them from the Hugging Face hub.")] = False,
    data_root: DataRootOption = None,
) -> None:
    """Download the data set of a family into the data root; a file whose checksum is wrong is not kept."""
    from rollout.families import fetch_family

    for fetched in fetch_family(family, split, data_root, from_hub=from_hub):
        done(f"{fetched.path}: {fetched.note}")
