"""The verbs ``codeact benchmarks``: what can be measured, and checks of the measuring itself. They need no model."""

from __future__ import annotations

import typer

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
