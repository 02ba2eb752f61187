"""The verbs ``codeact study``: several models under several conditions, as one table with tests."""

from __future__ import annotations

import json as jsonlib
from typing import Annotated

import typer

from launch.cli.verbs import ConfigFile, Overrides, PrintConfig, loaded

study_app = typer.Typer(no_args_is_help=True, help="Compare conditions on the same tasks.", rich_markup_mode="markdown")


@study_app.callback()
def study() -> None:
    """Compare conditions on the same tasks."""


@study_app.command("actions")
def actions(
    file: ConfigFile,
    overrides: Overrides = None,
    print_config: PrintConfig = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of the tables.")] = False,
) -> None:
    """Compare actions in code, JSON and text: success and turns of each model, as in Tables 2 and 3 of the paper.

    Rates have intervals, and formats are compared by paired tests. The same command resumes; the tables are also in
    eval/study of the run folder."""
    config = loaded(file, overrides, print_config)
    from launch.run_dir import RunDir
    from launch.study import study_actions

    with RunDir(config.run).held():
        study = study_actions(config)
    typer.echo(jsonlib.dumps(study.as_json(), indent=1) if json else study.markdown())
