"""A run folder as one self-contained page, as Markdown, and as text for the terminal.

Contract: :func:`write_report` reads ``runs/<name>`` in the forms of ``docs/reference/files.md`` and leaves
``report.html`` and ``report.md`` beside it. The page needs no network, no other file and no JavaScript (which only adds
filters). A stage that has not run yet leaves a sentence in its place. It measures nothing itself: every number is in
the run folder.
"""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown

from eval.report.page import context, render
from eval.report.run import read_run
from rollout import write_atomically

__all__ = ["terminal_report", "write_report"]


def write_report(run: Path) -> Path:
    """Writes ``report.html`` and ``report.md`` into ``run`` and returns the former's path.

    Raises ``ValueError`` when ``run`` is not a folder or one of its files is damaged.
    """
    values = context(read_run(run))
    write_atomically(run / "report.md", render("report.md.j2", values))
    write_atomically(run / "report.html", render("report.html.j2", values))
    return run / "report.html"


def terminal_report(run: Path) -> str:
    """The Markdown report laid out for this terminal, plain text where there is none."""
    console = Console()
    with console.capture() as captured:
        console.print(Markdown(render("report.md.j2", context(read_run(run)))))
    return captured.get()
