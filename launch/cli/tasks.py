"""The verbs ``codeact tasks``: the task families, their data sets and checks of both. They need no model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from launch.console import done, say

NOT_AS_IT_SHOULD_BE = 1

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


@tasks_app.command()
def validate(
    family: Annotated[str | None, typer.Argument(help="Name of a family, such as gsm8k.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every family that reads a data set.")] = False,
    split: Annotated[str | None, typer.Option(help="Only this split.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="This many tasks of a split, evenly spread.")] = None,
    examples: Annotated[
        bool, typer.Option("--examples", help="Run the worked examples of all protocols, too; --all does so.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    data_root: DataRootOption = None,
) -> None:
    """Check that each grader accepts the data set's answers and rejects made wrong ones; no model is needed.

    Exit code 1 when an answer is judged otherwise than it should be. Data that are not on this machine are named.
    """
    from rollout.checks.validate import table, validate_family
    from rollout.families import data_families, data_family

    if every == (family is not None):
        raise ValueError("tasks validate: give the name of a family or --all; `codeact tasks list` shows them")
    reports = []
    for one in data_families().values() if family is None else [data_family(family)]:
        if family is None and split and split not in one.info.splits:
            continue
        for report in validate_family(one, split, data_root, limit):
            reports.append(report)
            if report.missing and family is not None:
                say(report.missing)
    typer.echo(json.dumps([report.as_dict() for report in reports], indent=1) if as_json else table(reports))
    differences = _run_examples() if examples or every else []
    if differences or not all(report.ok for report in reports):
        raise typer.Exit(NOT_AS_IT_SHOULD_BE)


@tasks_app.command()
def replay(
    files: Annotated[
        list[Path],
        typer.Argument(help="Files of runs in MINT's form (.jsonl, .jsonl.gz), or one run folder with a bank."),
    ],
    graders_only: Annotated[
        bool, typer.Option("--graders-only", help="Judge the proposals again; run no cell.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Replay this many runs, drawn with the seed.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    family: Annotated[list[str] | None, typer.Option(help="Only this family; may be repeated.")] = None,
    bank: Annotated[
        Path, typer.Option(help="Folder of the replayed trajectories; a replay that was stopped goes on there.")
    ] = Path("runs/replay/bank"),
    at_once: Annotated[int, typer.Option(min=1, help="Episodes at the same time.")] = 16,
    min_agreement: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Exit code 1 below this share [default: 0.99 of graders, 0.97 executed]."),
    ] = None,
    data_root: DataRootOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print the whole report as JSON.")] = False,
) -> None:
    """Run recorded episodes again in our kernels and compare verdicts and outputs with the recorded ones.

    A run repeats its record when our verdicts are the recorded ones, or differ only because the reference's rule
    differs from ours. Every difference is listed with its reason.
    """
    from launch.cli.replay import jobs_of, refuse_bank_filters
    from rollout.checks.replay import (
        PROTOCOL,
        ReplayOptions,
        choose_runs,
        replay_graders,
        replay_runs,
        task_of,
        tasks_of,
    )

    if any(file.is_dir() for file in files):
        refuse_bank_filters(files, graders_only, limit, family)
        jobs, protocol = jobs_of(files[0])
        report = replay_runs(jobs, bank, ReplayOptions(at_once=at_once, protocol=protocol))
    elif graders_only:
        report = replay_graders([(run, task_of(run)) for run in choose_runs(files, limit, seed, family or ())])
    else:
        jobs, missing = tasks_of(choose_runs(files, limit, seed, family or ()), data_root)
        report = replay_runs(jobs, bank, ReplayOptions(at_once=at_once, protocol=PROTOCOL), missing)
    typer.echo(report.model_dump_json(indent=2) if json else report.markdown())
    least = min_agreement if min_agreement is not None else (0.99 if graders_only else 0.97)
    short = report.short_of(least)
    for sentence in short:
        say(sentence)
    if short:
        raise typer.Exit(1)


@tasks_app.command()
def show(
    family: Annotated[str, typer.Argument(help="Name of a family, such as gsm8k.")],
    protocol: Annotated[str, typer.Option(help="Name of a shipped protocol, or path of a file.")] = "codeact",
    split: Annotated[str | None, typer.Option(help="A split; by default the first one that is here.")] = None,
    task: Annotated[str | None, typer.Option(help="Id of a task; by default the first one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the messages as JSON.")] = False,
    data_root: DataRootOption = None,
) -> None:
    """Print the whole prompt of a task as a model gets it: every message with its role, and native tools."""
    from launch.prompts import prompt_of

    shown = prompt_of(family, protocol, split, task, data_root)
    typer.echo(json.dumps(shown.as_dict(), indent=1, ensure_ascii=False) if as_json else shown.text())


def _run_examples() -> list[str]:
    """Runs every worked example in a kernel; says what differs from its text."""
    import asyncio

    from rollout import run_examples

    number, differences = asyncio.run(run_examples())
    for difference in differences:
        say(difference)
    say(f"examples: {number} were run, with {len(differences)} differences")
    return differences
