"""``codeact collect --plan``: what would be collected from where, and what it would cost.

Contract: reads the configuration, the data sets on this machine and the run's bank. It starts nothing and needs no key.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from launch.config import LoopConfig
from launch.mixture import missing_parts
from launch.run_dir import RunDir
from rollout import CollectionPlan, DataRoot, MissingData, plan_collection, read_prices

WIDTH = 132
"""Columns that the tables need; in a narrower terminal their lines wrap."""


def make_collection_plan(config: LoopConfig, prices: Path | None) -> CollectionPlan:
    """The plan of a configuration. Raises ``ValueError`` for a file of prices that cannot be read."""
    models = {name: engine.name or engine.model for name, engine in config.engines.items()}
    plan = plan_collection(
        config.collect, models, RunDir(config.run).bank, read_prices(prices.expanduser()) if prices else None
    )
    plan.missing += _missing_records(config)
    return plan


def _missing_records(config: LoopConfig) -> Iterator[MissingData]:
    """Files of records that ``prepare`` mixes with the collected ones, and of what they are made."""
    absent = []
    for source in config.prepare.sources:
        path = Path(source.path) if source.path else None
        if path is not None and ".json" in path.name and not path.exists():
            absent.append(path)
    for path in absent:
        yield MissingData("prepare.sources", path.stem, str(path), f"codeact records general --out {path}")
    if absent:
        for name, where in missing_parts(DataRoot().folder).items():
            yield MissingData("general", name, "its file", where)


def show_collection_plan(plan: CollectionPlan) -> None:
    """Prints a plan on standard output."""
    console = Console(highlight=False, soft_wrap=True, width=max(WIDTH, Console().width))
    console.print(_sources(plan))
    console.print(_teachers(plan))
    console.print("Tokens and money are [bold]estimates[/bold] of what is left to run; prices are those of --prices.")
    for sentence in dict.fromkeys(basis for teacher in plan.teachers for basis in teacher.basis):
        console.print(f"  {sentence}", markup=False)
    if not plan.missing:
        console.print("Every data set is on this machine.")
        return
    console.print("\nMissing on this machine:")
    for one in plan.missing:
        console.print(f"  {one.family}/{one.split}, {one.what}: {one.get}", markup=False)


def _sources(plan: CollectionPlan) -> Table:
    table = Table(title="Sources", title_justify="left", box=box.SIMPLE)
    for name in ("", "family", "split", "engines", "tasks", "", "samples", "episodes", "done"):
        table.add_column(name, justify="right" if name in ("tasks", "samples", "episodes", "done") else "left")
    for one in plan.sources:
        split = f"{one.split}, {one.preset}" if one.preset else one.split
        table.add_row(
            str(one.number), one.family, split, ", ".join(one.engines), _count(one.tasks), one.basis, str(one.samples),
            _count(one.episodes), str(one.done),
        )  # fmt: skip
        for note in one.notes:
            table.add_row("", "", "", "", "", note)
    return table


def _teachers(plan: CollectionPlan) -> Table:
    table = Table(title="Teachers, what is left to run", title_justify="left", box=box.SIMPLE)
    for name in ("engine", "model", "episodes", "prompt tokens", "completion tokens", "money"):
        table.add_column(name, justify="left" if name in ("engine", "model") else "right", no_wrap=True)
    for one in plan.teachers:
        tokens = f"{one.prompt_tokens / 1e6:,.2f} M", f"{one.completion_tokens / 1e6:,.2f} M"
        money = "no price" if one.money is None else f"{one.money:,.2f}"
        table.add_row(one.engine, one.model, _count(one.episodes), *tokens, money)
    return table


def _count(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"
