"""The verbs ``codeact bank stats`` and ``codeact bank export``: what a bank cost, and data sets made from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from launch.console import done, say
from launch.output_files import ReplaceOption, check_new

WIDTH = 132
"""Columns that the tables need; in a narrower terminal their lines wrap."""
BankArgument = Annotated[Path, typer.Argument(help="A bank, one of its files, or a run folder, such as runs/demo.")]


def stats(
    path: BankArgument,
    prices: Annotated[
        Path | None,
        typer.Option(help="YAML file of prices: MODEL: {input: 0.5, output: 1.5, cached: 0.1} per million tokens."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show each model's episodes, success by family, tokens and money; a judge's tokens are counted apart."""
    from rollout import bank_table, read_prices, read_trajectories

    known = read_prices(prices.expanduser()) if prices else None
    found = (one for bank in banks_in(path, "stats", evaluation=False) for one in read_trajectories(bank))
    table = bank_table((one for one in found if not one.lost), known)
    if as_json:
        typer.echo(json.dumps(table, indent=1))
        return
    _show(table)


def export(
    path: BankArgument,
    form: Annotated[
        Literal["dpo", "grpo", "kto", "sft"],
        typer.Option(help="dpo: preference pairs; grpo: groups with rewards; kto: labels; sft: the best episodes."),
    ],
    out: Annotated[Path, typer.Option("--out", help="JSON Lines file to write.")],
    replace: ReplaceOption = False,
    completion: Annotated[
        Literal["turn", "episode"],
        typer.Option(help="dpo: compare the turn in which two episodes differ, or all from there on."),
    ] = "turn",
    per_task: Annotated[int, typer.Option(min=1, help="dpo: pairs, sft: episodes of a task at most.")] = 4,
) -> None:
    """Write a bank as a data set of TRL's conversational forms, and count what was left out."""
    from rollout import export_bank

    out = out.expanduser()
    check_new(out, replace)
    made = export_bank(banks_in(path, "export", evaluation=False), form, out, completion=completion,
                       most_per_task=per_task)  # fmt: skip
    for reason, count in made.left_out.most_common():
        say(f"left out: {count} {reason}")
    done(f"{made.rows} rows of the form {form} in {out}")


def banks_in(path: Path, verb: str, *, evaluation: bool = True) -> list[Path]:
    """The banks at ``path``; ``evaluation``: those of evaluations, too.

    Raises:
        ValueError: there is none.
    """
    inside = [path / "bank"]
    if evaluation:
        inside += [path / "eval" / "bank", path / "eval" / "engines" / "bank"]
    found = [bank for bank in inside if bank.is_dir()]
    if path.is_file() or (not found and any(path.glob("*.jsonl"))):
        return [path]
    if not found:
        raise ValueError(f"bank {verb}: there is no bank in {path}; give a folder with *.jsonl files or a run folder")
    return found


def _show(table: dict[str, Any]) -> None:
    console = Console(highlight=False, soft_wrap=True, width=max(WIDTH, Console().width))
    cost = Table(title="Cost of each model", title_justify="left", box=box.SIMPLE)
    names = ("model", "episodes", "solved", "prompt tokens", "of them cached", "completion tokens", "a task", "money")
    for name in names:
        cost.add_column(name, justify="left" if name == "model" else "right", no_wrap=True)
    for model, row in table["models"].items():
        tokens = (row["prompt_tokens"], row["cached_tokens"], row["completion_tokens"])
        cost.add_row(
            model, str(row["episodes"]), f"{row['success']:.1%}", *(f"{count:,}" for count in tokens),
            f"{row['tokens_per_episode']:,.0f}", _money(row["money"]),
        )  # fmt: skip
    for model, row in table["judges"].items():
        cost.add_row(
            f"{model} (judge)", str(row["calls"]), "", f"{row['prompt_tokens']:,}", "", f"{row['completion_tokens']:,}",
            "", _money(row["money"]),
        )  # fmt: skip
    console.print(cost)
    models = list(table["models"])
    success = Table(title="Success, %", title_justify="left", box=box.SIMPLE)
    for name in ("family", "tasks", *models):
        success.add_column(name, justify="left" if name == "family" else "right", no_wrap=True)
    for family in sorted({name for row in table["models"].values() for name in row["families"]}):
        cells = [table["models"][model]["families"].get(family) for model in models]
        tasks = max(cell["tasks"] for cell in cells if cell)
        success.add_row(family, str(tasks), *(f"{cell['success'] * 100:.1f}" if cell else "-" for cell in cells))
    console.print(success)


def _money(value: float | None) -> str:
    return "no price" if value is None else f"{value:,.2f}"
