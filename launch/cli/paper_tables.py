"""The verb ``codeact benchmarks paper``: the published tables, with rows of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def paper(
    runs: Annotated[
        list[Path] | None, typer.Argument(metavar="[RUN]...", help="Run folders whose checkpoints get rows.")
    ] = None,
    form: Annotated[
        Literal["markdown", "latex", "csv", "json"], typer.Option("--format", help="How the tables are written.")
    ] = "markdown",
) -> None:
    """Print the paper's Tables 2, 3, 5 and A.8 and MINT's counts, what follows from them, and runs beside them.

    A checkpoint gets a row where it was measured on the paper's benchmark: the same name and number of tasks.
    """
    from eval import paper_tables, render_tables

    typer.echo(render_tables(paper_tables(runs or []), form), nl=False)
