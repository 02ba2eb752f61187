"""The verb ``prove``: checks of the trainer that need no cluster.

Exit codes: 0 every row agrees; 3 a row does not, marked in the table.
"""

from __future__ import annotations

import json as jsonlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from codeact_train.parity import Verdict

FAILED = 3

prove_app = typer.Typer(no_args_is_help=True, help="Check that the trainer computes the same in every layout.")


@prove_app.callback()
def prove() -> None:
    """Check that the trainer computes the same in every layout."""


@prove_app.command("layouts")
def layouts(
    steps: Annotated[int, typer.Option(min=1, help="Training steps of each layout.")] = 4,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON instead of a table.")] = False,
) -> None:
    """Train toy models in every layout and on both backends, and compare losses and gradient norms with those of one
    process that computes one document at a time."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # read when torch is imported: several processes share this machine's CPU
    from codeact_train.parity import TOLERANCE, compare
    from sandbox import temporary_folder

    if not json:
        typer.echo(f"{'':46}largest relative difference from the first row of its family")
        typer.echo(f"{'model':9}{'computed as':37}{'steps':>6}{'loss':>10}{'norm':>10}{'validation':>12}")
    with temporary_folder("parity") as scratch:
        result = compare(steps, Path(scratch), (lambda verdict: None) if json else _print_row)
    if json:
        typer.echo(jsonlib.dumps(result.as_json(), indent=1))
    else:
        wrong = sum(not verdict.holds for verdict in result.verdicts)
        said = f"{wrong} do not" if wrong else "all"
        typer.echo(f"{len(result.verdicts)} rows, {said} agree within {TOLERANCE:g}")
        if result.skipped:
            typer.echo(f"skipped, because DeepSpeed is not installed: {', '.join(result.skipped)}")
    if not result.holds:
        raise typer.Exit(FAILED)


def _print_row(verdict: Verdict) -> None:
    numbers = f"{verdict.steps:6}{verdict.loss:10.1e}{verdict.grad_norm:10.1e}{verdict.validation:12.1e}"
    typer.echo(f"{verdict.family:9}{verdict.row:37}{numbers}  {'holds' if verdict.holds else 'FAILS'}")
