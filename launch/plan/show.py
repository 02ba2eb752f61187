"""Prints a plan, and the check of the cost model, as tables."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from codeact_train.plan import TOLERANCE, Comparison, Estimate
from launch.plan.make import Plan

SHOWN_THAT_DO_NOT_FIT = 5


def show_plan(plan: Plan) -> None:
    """Prints a plan on standard output."""
    console = Console(highlight=False, soft_wrap=True)
    chosen, work, cluster = plan.chosen, plan.work, plan.cluster
    console.print(
        f"[bold]{escape(plan.model)}[/bold], {plan.cost.parameters / 1e9:.2f} B parameters, on {escape(cluster.name)}: "
        f"{cluster.nodes} x {cluster.gpus_per_node} {escape(cluster.gpu.name)}"
    )
    console.print(
        "Every figure below is [bold]predicted[/bold] by the cost model of docs/performance.md; none was measured."
    )
    console.print(
        f"Workload: {escape(work.source)}; {work.context:,.0f} keys a query, {work.trained_share:.0%} trained."
    )
    memory = chosen.memory
    console.print(_kinds("Memory of the fullest GPU, GB", memory, "{:.1f}"))
    console.print(f"{memory.total:.1f} of {memory.limit:.1f} GB: [bold]{memory.verdict}[/bold]")
    console.print(_kinds("Time of a step, s", chosen.time, "{:.2f}"))
    console.print(
        f"{chosen.layout.name}, recompute {chosen.layout.recompute}: {work.step_tokens:,.0f} tokens a step in "
        f"{chosen.time.total:.1f} s, [bold]{chosen.tokens_per_s:,.0f} tokens/s[/bold], MFU {chosen.mfu:.1%} "
        f"(6 operations a matrix weight and seen attention, over {cluster.gpu.peak_tflops:g} TFLOP/s)"
    )
    console.print(_run_time(plan))
    console.print(_layouts(plan))
    console.print(f"Start on one such node: {plan.command}", markup=False)
    console.print("SLURM script (`--slurm` writes it):\n")
    console.print(plan.script, markup=False)


def show_published(compared: list[Comparison]) -> None:
    """Prints published runs and the cost model's figures."""
    table = Table(
        title="Published training runs and the cost model, tokens a second and GPU",
        title_justify="left",
        box=box.SIMPLE,
    )
    for name in ("run", "source", "published", "predicted", "ratio", ""):
        table.add_column(name, justify="left" if name in ("run", "") else "right", no_wrap=True)
    sources = list(dict.fromkeys(one.run.source for one in compared))
    for before, one in zip([None, *compared], compared, strict=False):
        if before and before.fitted and not one.fitted:
            table.add_section()
        kind = "fitted" if one.fitted else "held out"
        table.add_row(
            one.run.name,
            str(sources.index(one.run.source) + 1),
            f"{one.run.published:,}",
            f"{one.predicted:,.0f}",
            f"{one.ratio:.2f}",
            kind if one.within else f"{kind}, outside ±{TOLERANCE:.0%}",
        )
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    for number, source in enumerate(sources, 1):
        console.print(f"{number:2}  {source}")


def _kinds(title: str, kinds: object, form: str) -> Table:
    """The fields of a dataclass, one a line, largest first."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE, show_header=False)
    table.add_column("kind", no_wrap=True)
    table.add_column("value", justify="right")
    values = {field.name: getattr(kinds, field.name) for field in fields(kinds)}  # type: ignore[arg-type]
    values.pop("limit", None)
    for name, value in sorted(values.items(), key=lambda pair: -pair[1]):
        if value:
            table.add_row(name, form.format(value))
    return table


def _run_time(plan: Plan) -> str:
    work, chosen = plan.work, plan.chosen
    if work.steps_per_epoch is None or chosen.epoch_s is None:
        return "Epoch and run: the number of packs is not known yet; run `codeact prepare`, or give --packs N."
    return (
        f"Epoch: {work.steps_per_epoch} steps, {_hours(chosen.epoch_s)}; run: {work.epochs} epochs, "
        f"{work.epochs * work.steps_per_epoch} steps, {_hours(chosen.epoch_s * work.epochs)}, "
        "without validation, checkpoints and exports."
    )


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.0f} min"


def _layouts(plan: Plan) -> Table:
    table = Table(title=f"Layouts of {plan.cluster.gpus} GPUs, the fastest first", title_justify="left", box=box.SIMPLE)
    for name in ("layout", "recompute", "GB", "fits", "s/step", "tokens/s", "MFU"):
        table.add_column(name, justify="left" if name in ("layout", "recompute", "fits") else "right", no_wrap=True)
    fitting = [one for one in plan.ranked if one.memory.fits]
    others = [one for one in plan.ranked if not one.memory.fits]
    for one in fitting + others[:SHOWN_THAT_DO_NOT_FIT]:
        table.add_row(*_cells(one), style="bold" if _same(one, plan.chosen) else None)
    if len(others) > SHOWN_THAT_DO_NOT_FIT:
        table.caption = f"and {len(others) - SHOWN_THAT_DO_NOT_FIT} more that do not fit (--json lists them)"
    return table


def _cells(one: Estimate) -> list[Any]:
    return [
        one.layout.name,
        one.layout.recompute,
        f"{one.memory.total:.1f}",
        one.memory.verdict,
        f"{one.time.total:.1f}",
        f"{one.tokens_per_s:,.0f}",
        f"{one.mfu:.1%}",
    ]


def _same(one: Estimate, other: Estimate) -> bool:
    return (one.layout.name, one.layout.recompute) == (other.layout.name, other.layout.recompute)
