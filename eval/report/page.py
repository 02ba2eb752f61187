"""The page: values for the templates, and the filters that format numbers.

Contract: :func:`context` turns a :class:`~eval.report.run.Run` into plain values, :func:`render` a template into text.
The HTML and the Markdown template show the same values. HTML escapes everything that is not marked as markup.
Cost: about a second for a demo-sized run. It writes nothing.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import YamlLexer

from eval.report import corpus, data, training
from eval.report.charts import Chart, Series, line_chart
from eval.report.fair_base import FairBase, with_base_rows
from eval.report.run import Run
from eval.report.success import (
    Block,
    Effort,
    Headline,
    Slice,
    Suite,
    effort,
    grid,
    headline,
    slices,
    suites,
)
from eval.report.transcripts import Comparison, comparisons
from eval.stats import Interval
from rollout import Trajectory

GROUP_COLOURS = {"all": "c-all", "trained": "c-1", "unseen_wording": "c-2", "unseen_tool": "c-3"}
NAMED_ELSEWHERE = ("name", "model", "tokenizer", "base_urls")
"""Keys of an engine that only name the checkpoint it served."""
KIND_COLOURS = ("c-1", "c-2", "c-3", "c-4", "c-5")


@dataclass(frozen=True)
class SuiteView:
    """One comparable set of results and everything shown of it."""

    suite: Suite
    headline: Headline | None
    slices: list[Slice]
    efforts: list[Effort]
    blocks: list[Block]
    charts: list[Chart]
    comparisons: list[Comparison]
    engine: list[tuple[str, str]]
    fair_base: FairBase | None


def context(run: Run) -> dict[str, Any]:
    """Values for both templates."""
    return {
        "run": run,
        "views": [_view(suite, fair, run.transcripts) for suite, fair in with_base_rows(suites(run.results))],
        "training": training.summarise(run.metrics),
        "collection": data.collection(run.bank),
        "collection_span_s": data.span_s(run.bank) if run.bank else None,
        "names": {result.checkpoint.digest: result.checkpoint.name for result in run.results},
        "faults": data.faults(run.bank),
        "equations": data.equations(run.ledger) if run.ledger else [],
        "documents": corpus.documents(run.path / "corpus"),
        "environment": list(flattened(run.environment or {})),
        "config_html": _yaml(run.config) if run.config else None,
        "made_at": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def render(template: str, values: dict[str, Any]) -> str:
    """Renders a template of ``eval/templates``. An undefined name is an error."""
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("eval", "templates"),
        autoescape=lambda name: name is not None and ".html" in name,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "pct": pct, "num": num, "secs": secs, "p": p_value, "span": span, "points": points, "when": when,
    }  # fmt: skip
    return environment


def _view(suite: Suite, fair_base: FairBase | None, transcripts: dict[str, Trajectory]) -> SuiteView:
    rows = slices(suite)
    return SuiteView(
        suite=suite,
        headline=headline(suite),
        slices=rows,
        efforts=[effort(result) for result in suite.results],
        blocks=grid(suite),
        charts=_success_charts(suite, rows),
        comparisons=comparisons(suite, transcripts),
        engine=_engine(suite),
        fair_base=fair_base,
    )


def _success_charts(suite: Suite, rows: Sequence[Slice]) -> list[Chart]:
    """A chart by group, with all tasks, and one of the first five kinds (there are five colours)."""
    groups = [(row, GROUP_COLOURS[row.level]) for row in rows if row.level in GROUP_COLOURS]
    kinds = list(zip([row for row in rows if row.level == "kind"], KIND_COLOURS, strict=False))
    return [_success_chart("Tasks solved", suite, groups), _success_chart("Tasks solved, by kind", suite, kinds)]


def _success_chart(title: str, suite: Suite, rows: Sequence[tuple[Slice, str]]) -> Chart:
    names = [result.checkpoint.name for result in suite.results]
    places = [float(i) for i in range(len(names))]
    series = [
        Series(
            row.name.removeprefix("Kind: "),
            css,
            places,
            [rate.interval.estimate for rate in row.rates],
            [rate.interval.low for rate in row.rates],
            [rate.interval.high for rate in row.rates],
            [f"{row.name}, {name}: {rate.solved} of {rate.n}" for name, rate in zip(names, row.rates, strict=True)],
            markers=True,
        )
        for row, css in rows
    ]
    return line_chart(
        title,
        series,
        x_label="",
        y_range=(0.0, 1.0),
        x_names=dict(zip(places, names, strict=True)),
        y_format="{:.0%}".format,
        dodge=7.0,
    )


def _engine(suite: Suite) -> list[tuple[str, str]]:
    """How checkpoints were served: common settings once, others (such as parity figures) for each checkpoint."""
    settings = [dict(flattened(result.engine)) for result in suite.results]
    rows = []
    for key in dict.fromkeys(key for one in settings for key in one):
        values = [one.get(key, "–") for one in settings]
        if len(set(values)) == 1:
            rows.append((key, values[0]))
        elif key not in NAMED_ELSEWHERE:
            named = zip(suite.results, values, strict=True)
            rows.append((key, "; ".join(f"{result.checkpoint.name} {value}" for result, value in named)))
    return rows


def flattened(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as (dotted name, text) pairs, in order."""
    out: list[tuple[str, str]] = []
    for key, item in value.items():
        out += flattened(item, f"{prefix}{key}.") if isinstance(item, Mapping) else [(f"{prefix}{key}", str(item))]
    return out


def _yaml(text: str) -> Markup:
    return Markup(highlight(text, YamlLexer(), HtmlFormatter(nowrap=True)))


def pct(share: float, digits: int = 1) -> str:
    """0.84375 → ``84.4 %``."""
    return f"{100 * share:.{digits}f}\u202f%"


def points(share: float) -> str:
    """A difference of rates in percentage points, signed: 0.823 → ``+82.3``."""
    return f"{100 * share:+.1f}".replace("-", "\u2212")


def span(interval: Interval) -> str:
    """The limits of an interval of rates, in percent: ``75.8–90.3``."""
    return f"{100 * interval.low:.1f}–{100 * interval.high:.1f}"


def num(value: float, digits: int = 0) -> str:
    """1234567.8 → ``1 234 568`` with narrow spaces."""
    return f"{value:,.{digits}f}".replace(",", "\u202f")


def secs(value: float) -> str:
    """A readable duration: ``41 s``, ``12 min 5 s``, ``3 h 20 min``."""
    whole = round(value)
    if value < 10:
        return f"{value:.1f}\u202fs"
    if whole < 60:
        return f"{whole}\u202fs"
    if whole < 3600:
        return f"{whole // 60}\u202fmin {whole % 60}\u202fs"
    return f"{whole // 3600}\u202fh {whole % 3600 // 60}\u202fmin"


def when(iso: str) -> str:
    """An ISO time to the minute: ``2026-08-14 10:00 UTC``."""
    time = datetime.datetime.fromisoformat(iso.replace("Z", "+00:00")).astimezone(datetime.UTC)
    return f"{time:%Y-%m-%d %H:%M} UTC"


def p_value(value: float) -> str:
    """``p = 0.031``, or ``p < 0.0001`` for smaller values."""
    return "p\u00a0<\u00a00.0001" if value < 1e-4 else f"p\u00a0=\u00a0{value:.2g}"
