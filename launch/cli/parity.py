"""The verb ``prove``: claims about the trainer that this machine can check by itself.

Exit codes: 0 everything holds; 3 something does not, named in the table.
"""

from __future__ import annotations

import json as jsonlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from codeact_train.parity import Verdict

FAILED = 3

prove_app = typer.Typer(no_args_is_help=True, help="Prove claims about the trainer on this machine.")


@prove_app.callback()
def prove() -> None:
    """Prove claims about the trainer on this machine."""


@prove_app.command("layouts")
def layouts(
    steps: Annotated[int, typer.Option(min=1, help="Training steps of each layout.")] = 4,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON instead of a table.")] = False,
) -> None:
    """Train toy models in every layout and on both backends and hold losses and gradient norms against one process,
    one document at a time."""
    from codeact_train.parity import TOLERANCE, compare

    if not json:
        typer.echo(f"{'':46}largest relative difference from the first row of its family")
        typer.echo(f"{'model':9}{'computed as':37}{'steps':>6}{'loss':>10}{'norm':>10}{'validation':>12}")
    with tempfile.TemporaryDirectory() as scratch:
        result = compare(steps, Path(scratch), (lambda verdict: None) if json else _tell)
    if json:
        typer.echo(jsonlib.dumps(result.as_json(), indent=1))
    else:
        wrong = sum(not verdict.holds for verdict in result.verdicts)
        said = f"{wrong} do not" if wrong else "all"
        typer.echo(f"{len(result.verdicts)} rows, {said} agree within {TOLERANCE:g}")
        if result.skipped:
            typer.echo(f"left out, because DeepSpeed is not installed: {', '.join(result.skipped)}")
    if not result.holds:
        raise typer.Exit(FAILED)


def _tell(verdict: Verdict) -> None:
    numbers = f"{verdict.steps:6}{verdict.loss:10.1e}{verdict.grad_norm:10.1e}{verdict.validation:12.1e}"
    typer.echo(f"{verdict.family:9}{verdict.row:37}{numbers}  {'holds' if verdict.holds else 'FAILS'}")
