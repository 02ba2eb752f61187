"""The verb ``codeact bank regrade``: the answers of a bank judged again. It changes no bank."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from launch.cli.bank_data import banks_in
from launch.console import done, say

if TYPE_CHECKING:
    from rollout import TaskSet


def regrade(
    path: Annotated[Path, typer.Argument(help="A bank, one of its files, or a run folder, such as runs/demo.")],
    grader: Annotated[
        str | None, typer.Option(help="Judge with this grader; by default with the one of each episode.")
    ] = None,
    legacy: Annotated[
        bool, typer.Option("--legacy", help="Also judge by the reference system's rule, and keep both verdicts.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder of a new bank with the new verdicts; by default none is written.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Answers judged at once by graders that wait for a process.")] = 2,
    data_root: Annotated[
        Path | None, typer.Option("--data-root", help="Folder of data sets, for episodes without a stored reference.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Judge the answers of stored episodes again and say what changes; the bank itself stays as it is.

    Of a run folder, the bank of `collect` is judged. Episodes of earlier versions do not hold their reference; it is
    looked up in the task sets of the run and in the families.
    """
    from rollout import TaskReferences, regrade_bank

    bank, started = banks_in(path, "regrade")[0], time.monotonic()
    find = TaskReferences(_task_sets(path), data_root)
    changes = regrade_bank(bank, out, grader=grader, legacy=legacy, find=find, threads=threads)
    summary = changes.summary()
    if as_json:
        typer.echo(json.dumps({"bank": str(bank), "out": str(out) if out else None, **summary}, ensure_ascii=False))
        return
    for group in changes.groups():
        typer.echo(f"{group['count']:>7}  {group['change']}  {group['grader']}: {group['reason']}")
    for reason, number in changes.not_graded.most_common():
        typer.echo(f"{number:>7}  as before: {reason}")
    for pair, number in sorted(changes.legacy.items()):
        typer.echo(f"{number:>7}  answers: {pair[0]}, by the reference system's rule {pair[1]}")
    where = f"; the new bank is {out}" if out else "; nothing was written (--out)"
    done(
        f"{changes.graded} of {changes.episodes} episodes judged, {changes.changes} changed{where}",
        time.monotonic() - started,
    )


def _task_sets(path: Path) -> list[TaskSet]:
    """The task sets of a run's configuration; none for a bank alone, or a configuration that does not load."""
    from launch.config import load

    recipe = path / "config.yaml"
    if not recipe.is_file():
        return []
    try:
        return [source.tasks for source in load(recipe, []).collect.sources]
    except ValueError as fault:
        say(f"notice: {recipe} cannot be read, so references come from the families alone: {fault}")
        return []
