"""The verb ``codeact results export``: results in the forms of other programs. It changes nothing in a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from launch.console import done, say
from launch.output_files import ReplaceOption, check_new

results_app = typer.Typer(no_args_is_help=True, help="Export the results of a run.", rich_markup_mode="markdown")


@results_app.callback()
def _results() -> None:
    """Without a callback, Typer makes the only command the app itself."""


@results_app.command()
def export(
    run: Annotated[Path, typer.Argument(help="Run folder with results, such as runs/demo.")],
    form: Annotated[
        Literal["markdown", "latex", "csv", "json", "every-eval-ever", "hub", "inspect"],
        typer.Option(help="A table, or the files of another program."),
    ] = "markdown",
    to: Annotated[
        Path | None,
        typer.Option(help="File of a table, by default printed; folder of the other forms; of `hub`, the model's."),
    ] = None,
    replace: ReplaceOption = False,
    checkpoint: Annotated[str | None, typer.Option(help="Only the results of this checkpoint or engine.")] = None,
    developer: Annotated[str, typer.Option(help="Owner of the models in ids such as OWNER/RUN-CHECKPOINT.")] = "local",
    organization: Annotated[str, typer.Option(help="Who ran the evaluation, for every-eval-ever.")] = "unknown",
    hub_task: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=OWNER/DATASET:TASK", help="The leaderboard of a benchmark, for hub."),
    ] = None,
) -> None:
    """Write the results of a run as a table, or in the form of Every Eval Ever, the Hugging Face Hub or inspect."""
    from eval import ExportOptions, export_files, export_table

    options = ExportOptions(checkpoint, developer, organization, _hub_tasks(hub_task or []))
    if form in ("markdown", "latex", "csv", "json"):
        if to is not None:
            check_new(to, replace, option="--to")
        text = export_table(run, form, options)
        if to is None:
            typer.echo(text, nl=False)
            return
        from rollout import write_atomically

        write_atomically(to, text)
        done(f"wrote {to}")
        return
    if to is None:
        raise ValueError(f"--form {form}: it has several files; give their folder with --to")
    files = export_files(run, to, cast(Literal["every-eval-ever", "hub", "inspect"], form), options)
    for file in files:
        check_new(file.path, replace, *file.beside, option="--to")
    for file in files:
        if note := file.write():
            say(f"notice: {note}")
        done(f"wrote {file.path}")


def _hub_tasks(given: list[str]) -> dict[str, str]:
    tasks = dict(one.partition("=")[::2] for one in given)
    for name, task in tasks.items():
        if not name or "/" not in task or ":" not in task:
            raise ValueError(
                f"--hub-task {name}={task}: write BENCHMARK=OWNER/DATASET:TASK, such as gsm8k=openai/gsm8k:gsm8k"
            )
    return tasks
