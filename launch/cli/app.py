"""The Typer application: help, options and registration of the verbs."""

from __future__ import annotations

from typing import Annotated

import typer

from codeact_train.system.library_warnings import hide_deprecations
from launch.cli import verbs
from launch.cli.bank import bank_app
from launch.cli.benchmarks import benchmarks_app
from launch.cli.error_handling import ErrorHandlingGroup
from launch.cli.parity import prove_app
from launch.cli.records import records_app
from launch.cli.results import results_app
from launch.cli.sandbox import sandbox_app, serve_sandbox
from launch.cli.study import study_app
from launch.cli.tasks import tasks_app
from sandbox import __version__

app = typer.Typer(
    name="codeact",
    cls=ErrorHandlingGroup,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="""Train agents that act by writing Python: collect episodes, select and prepare them, train, evaluate, report.

**Start here:** `codeact loop configs/demo.yaml` runs everything on a small real model.

Every verb takes the same YAML file and uses its own section. Overrides after the file change any value:

    codeact train configs/demo.yaml train.epochs=3 run=runs/three-epochs

`--print-config` shows the resolved configuration and stops. After an interrupt the same command resumes.""",
)
serve_app = typer.Typer(no_args_is_help=True, help="Serve a model or kernels over HTTP.", rich_markup_mode="markdown")

app.command(rich_help_panel="The loop")(verbs.loop)
for verb in (
    verbs.collect, verbs.select, verbs.prepare, verbs.train, verbs.export, verbs.evaluate, verbs.report,
):  # fmt: skip
    app.command(rich_help_panel="Stages of the loop")(verb)
app.add_typer(records_app, name="records", rich_help_panel="Before a run")
app.add_typer(serve_app, name="serve", rich_help_panel="Servers and kernels")
serve_app.command("model")(verbs.serve_model)
serve_app.command("sandbox")(serve_sandbox)
app.add_typer(sandbox_app, name="sandbox", rich_help_panel="Servers and kernels")
app.add_typer(bank_app, name="bank", rich_help_panel="Stages of the loop")
app.add_typer(results_app, name="results", rich_help_panel="Stages of the loop")
app.add_typer(study_app, name="study", rich_help_panel="Stages of the loop")
app.add_typer(tasks_app, name="tasks", rich_help_panel="Before a run")
app.add_typer(benchmarks_app, name="benchmarks", rich_help_panel="Before a run")
app.add_typer(prove_app, name="prove", rich_help_panel="Before a run")
app.command(rich_help_panel="Before a run")(verbs.schema)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"codeact {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and stop.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Entry point of the console command."""
    hide_deprecations()
    app()
