"""The report of a run: a self-contained HTML page, Markdown, and text for the terminal.

Contract: :func:`write_report` reads the files of ``runs/<name>`` and writes ``report.html`` and ``report.md`` into it.
The page needs no network, no other file and no JavaScript (which only adds filters). A stage that has not run yet is
replaced by a sentence. The report measures nothing: every number comes from the run folder.
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
    """Writes ``report.html`` and ``report.md`` into ``run`` and returns the path of the HTML page.

    Raises ``ValueError`` when ``run`` is not a folder or one of its files is damaged.
    """
    values = context(read_run(run))
    write_atomically(run / "report.md", render("report.md.j2", values))
    write_atomically(run / "report.html", render("report.html.j2", values))
    return run / "report.html"


def terminal_report(run: Path) -> str:
    """The Markdown report rendered for this terminal, or as plain text when there is none."""
    console = Console()
    with console.capture() as captured:
        console.print(Markdown(render("report.md.j2", context(read_run(run)))))
    return captured.get()
