"""The verbs ``codeact benchmarks``: what can be measured, and checks of the measuring itself. They need no model."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from launch.cli.paper_tables import paper
from launch.cli.tasks import NOT_AS_IT_SHOULD_BE, DataRootOption

benchmarks_app = typer.Typer(
    no_args_is_help=True, help="Look at benchmarks and check how they score.", rich_markup_mode="markdown"
)


@benchmarks_app.command("list")
def list_benchmarks() -> None:
    """List the registered benchmarks with their protocols."""
    from eval import BENCHMARKS, BenchmarkSpec

    for name in BENCHMARKS.names():
        part = BENCHMARKS.get(name)
        if isinstance(part, BenchmarkSpec):
            typer.echo(f"{name}: {part.title}; {part.licence}")
            typer.echo(f"  {part.size} tasks; protocols: {', '.join(part.protocols)}")
        else:
            typer.echo(f"{name}: {(part.__doc__ or '').strip().splitlines()[0]}")


@benchmarks_app.command()
def validate(
    name: Annotated[str | None, typer.Argument(help="Name of a benchmark, such as m3tooleval.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every registered benchmark.")] = False,
    way: Annotated[
        str | None, typer.Option("--by", help="Only this check: grader, or a protocol of the benchmark, such as code.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="This many tasks of a benchmark, evenly spread.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    data_root: DataRootOption = None,
) -> None:
    """Check that right answers solve every task of a benchmark and made wrong ones none; no model is needed.

    Graders judge answers; where tasks have scripted players, whole episodes are run under each protocol. Exit code 1
    when one is judged otherwise than it should be. With --all, data that are not on this machine are named.
    """
    from eval import BENCHMARKS, Benchmark
    from eval.benchmarks.validation import table, validate_benchmark, ways_of

    if every == (name is not None):
        raise ValueError(
            "benchmarks validate: give the name of a benchmark or --all; `codeact benchmarks list` shows them"
        )
    checks = []
    for one in BENCHMARKS.names() if name is None else [name]:
        benchmark = Benchmark(name=one, data_root=data_root)
        if name is None and way is not None and way not in ways_of(benchmark):
            continue
        for check in validate_benchmark(benchmark, way, limit):
            checks.append(check)
            if check.missing and name is not None:
                raise ValueError(check.missing)
    typer.echo(json.dumps([check.as_dict() for check in checks], indent=1) if as_json else table(checks))
    if not all(check.ok for check in checks):
        raise typer.Exit(NOT_AS_IT_SHOULD_BE)


benchmarks_app.command()(paper)
