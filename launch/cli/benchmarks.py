"""The verbs ``codeact benchmarks``: what can be measured, and checks of the measuring itself. They need no model."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Literal

import typer

from launch.cli.paper_tables import paper
from launch.cli.tasks import NOT_AS_IT_SHOULD_BE, DataRootOption
from launch.console import say

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
            scored = f"; scores from {part.score.low:g} to {part.score.high:g}" if part.score else ""
            typer.echo(f"  {part.size:,} tasks{scored}; protocols: {', '.join(part.protocols)}")
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


@benchmarks_app.command()
def forge(
    tier: Annotated[
        Literal["T3", "T2", "T1"] | None,
        typer.Option("--tier", help="Isolation of the kernels; by default the best of this machine."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of a table.")] = False,
) -> None:
    """Let cheating agents play whole episodes; exit code 1 when one is scored, or when an honest agent is refused.

    The agents write rewards, patch graders and tools, look for the answer, pass tests without code, forge states,
    persuade the judge, and avoid their verdict. docs/eval.md lists them.
    """
    from eval.forging import HEAD, row, run_battery, summary
    from sandbox import SandboxError, choose_tier

    try:
        chosen = choose_tier(tier, ())
        say(f"tier {chosen}")
        if not as_json:
            typer.echo(HEAD)
        attempts = asyncio.run(run_battery(chosen, on_attempt=lambda one: None if as_json else typer.echo(row(one))))
    except SandboxError as error:
        raise ValueError(str(error)) from None
    if as_json:
        typer.echo(json.dumps({"tier": chosen, "attempts": [one.model_dump() for one in attempts]}, indent=1))
    say(summary(attempts))
    if any(one.fault for one in attempts):
        raise typer.Exit(1)


benchmarks_app.command()(paper)
