"""The files of each form of export.

Contract: :func:`export_files` raises every error that the results can cause before a file is written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from eval.export import every_eval_ever as eee
from eval.export.hub import hub_files
from eval.export.source import MeasuredRun, read_measured
from eval.export.table import results_table
from eval.results import EvalResult
from eval.tables import TableForm, render_tables
from rollout import atomic_file, write_atomically
from sandbox import __version__

ExportForm = Literal["every-eval-ever", "hub", "inspect"]


@dataclass(frozen=True)
class ExportOptions:
    """What the results do not say.

    Attributes:
        checkpoint: only the results of this checkpoint or engine; None: all.
        developer: owner of the models, in ids such as ``DEVELOPER/RUN-CHECKPOINT``.
        organization: who ran the evaluation.
        hub_tasks: benchmark → ``OWNER/DATASET:TASK`` of the Hub.
    """

    checkpoint: str | None = None
    developer: str = "local"
    organization: str = "unknown"
    hub_tasks: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ExportFile:
    """A file to be written, perhaps with others beside it. ``write`` returns a sentence about what is left out."""

    path: Path
    write: Callable[[], str | None]
    beside: tuple[Path, ...] = ()


def export_table(run: Path, form: TableForm, options: ExportOptions) -> str:
    """The results of a run folder as one table.

    Raises:
        ValueError: there are none, or a file is damaged.
    """
    return render_tables([results_table(read_measured(run, options.checkpoint))], form)


def export_files(run: Path, to: Path, form: ExportForm, options: ExportOptions) -> list[ExportFile]:
    """The files of a form below the folder ``to``.

    Raises:
        ValueError: the run has no results, a file is damaged, the form needs something that is not given, or inspect
            is not installed.
    """
    measured = read_measured(run, options.checkpoint)
    if form == "hub":
        texts = hub_files([result for result, _ in measured.results], options.hub_tasks)
        return [_text_file(to / name, text) for name, text in texts.items()]
    if form == "inspect":
        from eval.export.inspect_log import check_installed

        check_installed()
    one = _every_eval_ever if form == "every-eval-ever" else _inspect
    return [one(measured, result, bank, to, options) for result, bank in measured.results]


def _text_file(path: Path, text: str) -> ExportFile:
    def write() -> None:
        write_atomically(path, text)

    return ExportFile(path, write)


def _every_eval_ever(run: MeasuredRun, result: EvalResult, bank: Path, to: Path, options: ExportOptions) -> ExportFile:
    model_id = f"{options.developer}/{run.name}-{result.checkpoint.name}"
    folder, name = eee.folder_of(result, model_id), eee.file_id(result)
    path, lines = to / folder / f"{name}.json", to / folder / f"{name}_samples.jsonl"

    def write() -> str | None:
        content = eee.aggregate(result, model_id, options.organization, __version__)
        here = sum(1 for _ in run.transcripts(result, bank))
        note = None
        if here == len(result.episodes):
            checksum = hashlib.sha256()
            with atomic_file(lines) as unfinished, unfinished.open("wb") as file:
                for episode, record in run.transcripts(result, bank):
                    line = eee.episode_line(result, episode, record, model_id).encode() + b"\n"
                    checksum.update(line)
                    file.write(line)
            content = eee.with_episodes(content, f"{folder}/{lines.name}", here, checksum.hexdigest())
        else:
            note = f"{bank} has {here} of the {len(result.episodes)} transcripts of {path.name}; it is without episodes"
        write_atomically(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        return note

    return ExportFile(path, write, (lines,))


def _inspect(run: MeasuredRun, result: EvalResult, bank: Path, to: Path, options: ExportOptions) -> ExportFile:
    path = to / f"{result.benchmark.name}_{run.name}-{result.checkpoint.name}_{result.key}.eval".replace("/", "-")

    def write() -> str | None:
        from eval.export.inspect_log import write_log

        with atomic_file(path) as unfinished:
            here = write_log(unfinished, run, result, bank, f"{options.developer}/{run.name}-{result.checkpoint.name}")
        missing = len(result.episodes) - here
        return f"{bank} has no transcript of {missing} episodes of {path.name}" if missing else None

    return ExportFile(path, write)
