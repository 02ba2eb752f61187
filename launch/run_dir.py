"""The run folder: paths of its files (``docs/reference/files.md``), and the record of its configuration and machine."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from codeact_train import PrepareConfig
from codeact_train.system.failures import read_json_object
from codeact_train.system.folders import MARK, listed, read_object
from codeact_train.system.job_lock import hold_folder
from rollout import EpisodeProtocol, read_trajectories, write_atomically

REPORTED_PACKAGES = (
    "torch", "megatron-core", "transformers", "ray", "openvino-genai", "jupyter_client", "ipykernel", "numpy", "pandas",
)  # fmt: skip

NAMES = (
    "config.yaml", "environment.json", "bank", "records.jsonl", "selection.json", "hard_tasks.jsonl", "corpus", "train",
    "train.yaml", "train.sbatch", "eval", "logs", "report.html", "report.md",
)  # fmt: skip
"""What the stages write into a run folder."""

NOT_OF_THE_CORPUS = {"sources", "decontaminate", "workers"}
"""Settings of ``prepare`` that name files or do not change the corpus."""


@dataclass(frozen=True)
class RunDir:
    """Paths inside ``runs/<name>/``."""

    root: Path

    @property
    def bank(self) -> Path:
        """Trajectories collected for training."""
        return self.root / "bank"

    @property
    def records(self) -> Path:
        """Training records."""
        return self.root / "records.jsonl"

    @property
    def selection(self) -> Path:
        """Counts of kept and dropped trajectories, with reasons."""
        return self.root / "selection.json"

    @property
    def hard_tasks(self) -> Path:
        """Tasks that no model has solved, with ``select.tiers``."""
        return self.root / "hard_tasks.jsonl"

    @property
    def corpus(self) -> Path:
        """The prepared corpus."""
        return self.root / "corpus"

    def check_corpus(self, prepare: PrepareConfig) -> None:
        """Raises ``ValueError`` when the corpus was prepared with other settings.

        The paths of its records are not compared.
        """
        stored = read_json_object(self.corpus / "corpus.json", "run `codeact prepare` again", "settings")["settings"]
        wanted = prepare.model_dump(mode="json", exclude=NOT_OF_THE_CORPUS)
        stored = {**PrepareConfig().model_dump(mode="json"), **stored}  # a corpus may be older than a key
        for key, value in wanted.items():
            if value != stored[key]:
                raise ValueError(
                    f"prepare.{key}: the corpus in {self.corpus} was prepared with {stored[key]!r}, this configuration "
                    f"says {wanted[key]!r}; run `codeact prepare` again, or give the former value"
                )

    def check_protocol(self, protocol: EpisodeProtocol) -> None:
        """Raises ``ValueError`` when every trajectory of the bank was collected with another protocol."""
        other = None
        for record in read_trajectories(self.bank):
            if record.protocol.digest == protocol.ref.digest:
                return
            other = record.protocol
        if other is not None:
            raise ValueError(
                f"protocol: the trajectories in {self.bank} were collected with {other.name} ({other.digest}), "
                f"this configuration has {protocol.ref.name} ({protocol.ref.digest}){self._changes(protocol)}; give "
                "another run=, or the former settings"
            )

    def _changes(self, protocol: EpisodeProtocol) -> str:
        """The settings of a protocol that differ from those in ``config.yaml``."""
        path = self.root / "config.yaml"
        stored = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
        before = stored.get("protocol", {}) if isinstance(stored, dict) else {}
        now = protocol.model_dump(mode="json")
        differ = [key for key in now if key in before and now[key] != before[key]]
        changed = [f"protocol.{key}={now[key]!r} (before: {before[key]!r})" for key in differ]
        return f": {'; '.join(changed)}" if changed else ""

    @property
    def train(self) -> Path:
        """Metrics, checkpoints and exports of the trainer."""
        return self.root / "train"

    @property
    def exports(self) -> Path:
        """One Hugging Face folder an epoch."""
        return self.train / "exports"

    @property
    def evaluation(self) -> Path:
        """Results and transcripts of the sweep."""
        return self.root / "eval"

    @property
    def logs(self) -> Path:
        """Output of the model servers."""
        return self.root / "logs"

    @contextmanager
    def held(self, *, shared: bool = False) -> Iterator[None]:
        """Holds the folder for one job within the block (:mod:`codeact_train.system.job_lock`).

        Raises:
            ValueError: another job holds it, or it holds files of the user's under the names of a run.
        """
        self.check_ours()
        with hold_folder(self.root, "run", "run", shared=shared):
            yield

    def claim(self) -> None:
        """Creates the folder, and marks it as a run's, without holding it.

        Raises:
            ValueError: it holds files of the user's under the names of a run.
        """
        self.check_ours()
        if not (self.root / MARK).exists():
            write_atomically(self.root / MARK, json.dumps({"kind": "run", "holder": None}) + "\n")

    def check_ours(self) -> None:
        """Raises ``ValueError`` when the folder holds files of the user's under the names of a run.

        A run of an earlier version is recognised by the files of its stages.
        """
        taken = [name for name in NAMES if (self.root / name).exists()]
        if self.root.exists() and not self.root.is_dir():
            raise ValueError(f"run={self.root}: this is a file; give a folder")
        if taken and not (self.root / MARK).is_file() and not self._is_earlier_run():
            raise ValueError(
                f"run={self.root}: {listed(taken)} there was not written by codeact; it stays as it is: give a new "
                "folder, or move these files elsewhere"
            )

    def _is_earlier_run(self) -> bool:
        signs = (
            (self.root / "environment.json", {"command", "machine"}),
            (self.corpus / "corpus.json", {"digest"}),
            (self.train / "job.json", {"train"}),
            (self.selection, {"kept", "dropped"}),
        )
        return (
            any(read_object(path).keys() >= keys for path, keys in signs)
            or any((folder / ".lock").is_file() for folder in (self.bank, self.evaluation / "bank"))
            or any(self.bank.glob("trajectories-*.jsonl"))
            or any(self.logs.glob("serve-*.log"))
            or (self.root / "train.sbatch").is_file()
        )

    def write_inputs(self, resolved: str) -> None:
        """Writes ``config.yaml`` and ``environment.json``."""
        write_atomically(self.root / "config.yaml", resolved)
        write_atomically(self.root / "environment.json", json.dumps(environment(), indent=1) + "\n")


def environment() -> dict[str, Any]:
    """Versions, machine and command."""
    return {
        "command": " ".join(["codeact", *sys.argv[1:]]),
        "commit": _commit(),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in REPORTED_PACKAGES},
        "machine": {
            "system": f"{platform.system()} {platform.release()}",
            "processor": _processor(),
            "cores": os.cpu_count(),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        },
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _commit() -> str | None:
    """The commit of the checkout that this package runs from; None without one."""
    here = Path(__file__).resolve().parent
    answer = subprocess.run(["git", "-C", str(here), "describe", "--always", "--dirty"], capture_output=True, text=True)
    return answer.stdout.strip() if answer.returncode == 0 else None
