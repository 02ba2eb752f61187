"""The run folder: paths of its files (``docs/reference/files.md``), and the record of its configuration and machine."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codeact_train import PrepareConfig
from codeact_train.failures import read_json_object
from rollout import write_atomically

REPORTED_PACKAGES = (
    "torch", "megatron-core", "transformers", "ray", "openvino-genai", "jupyter_client", "ipykernel", "numpy", "pandas",
)  # fmt: skip

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
    def corpus(self) -> Path:
        """The prepared corpus."""
        return self.root / "corpus"

    def check_corpus(self, prepare: PrepareConfig) -> None:
        """Raises ``ValueError`` when the corpus was prepared with other settings.

        The paths of its records are not compared.
        """
        stored = read_json_object(self.corpus / "corpus.json", "run `codeact prepare` again")["settings"]
        wanted = prepare.model_dump(mode="json", exclude=NOT_OF_THE_CORPUS)
        stored = {**PrepareConfig().model_dump(mode="json"), **stored}  # a corpus may be older than a key
        for key, value in wanted.items():
            if value != stored[key]:
                raise ValueError(
                    f"prepare.{key}: the corpus in {self.corpus} was prepared with {stored[key]!r}, this configuration "
                    f"says {wanted[key]!r}; run `codeact prepare` again, or give the former value"
                )

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
