"""A dump of a step that went wrong: its documents and numbers, and a command that computes it again.

Contract: ``anomalies/step-000012/`` appears whole, written by the main process. ``dump.json`` has the reason, the packs
and documents, and the job; ``batch.npz`` has the documents' tokens, ``rng.pt`` the state of torch's generator.
:mod:`codeact_train.parity.replay` computes the step again. Dumps of older runs
(``capsules/step-*/capsule.json``) can be read too. Cost: none until there is an anomaly.
"""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from codeact_train.config.train import TrainJob
from codeact_train.data.corpus import Corpus
from codeact_train.data.document import Document, concatenate
from codeact_train.data.sampler import Sampler
from codeact_train.observability.anomaly import Anomaly
from codeact_train.system.failures import read_json_object
from codeact_train.system.folders import FolderKind, replacing, users_files

SCHEMA = 2
FOLDER = "anomalies"
"""Name of the folder of dumps within a train folder."""

DUMP = FolderKind("dump", "dump.json", ("step", "reason"))


@dataclass(frozen=True)
class AnomalyDump:
    """Contents of ``dump.json``. ``documents``: of the global batch, by index in the corpus. ``skipped``: steps that
    were not taken before. Losses are strings: JSON cannot represent NaN."""

    schema: int
    step: int
    reason: str
    loss: str
    grad_norm: str
    median_loss: float | None
    median_norm: float | None
    packs: list[int]
    documents: list[dict[str, Any]]
    skipped: list[int]
    processes: int
    time: float
    job: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> AnomalyDump:
        """Read a dump. Raises ``ValueError`` when the folder contains none."""
        path, old = folder / "dump.json", folder / "capsule.json"
        if not path.is_file() and not old.is_file():
            raise ValueError(f"dump={folder}: no dump.json there; name a folder under <train folder>/{FOLDER}")
        content = read_json_object(path if path.is_file() else old, "name another dump")
        if "left_out" in content:  # schema 1
            content["skipped"] = content.pop("left_out")
        return cls(**content)

    def read_documents(self, folder: Path) -> list[Document]:
        """The documents, in the order of ``documents``."""
        with np.load(folder / "batch.npz") as stored:
            cuts = np.cumsum(stored["lengths"])[:-1]
            columns = (np.split(stored[name], cuts) for name in ("ids", "roles", "weights"))
            return [Document(*own) for own in zip(*columns, strict=True)]


def write(
    step: int, anomaly: Anomaly, job: TrainJob, sampler: Sampler, corpus: Corpus, *, skipped: Collection[int],
    processes: int,
) -> Path:  # fmt: skip
    """Write the dump of a step, in the main process; returns its folder."""
    folder = Path(job.out) / FOLDER / f"step-{step:06}"
    packs = sampler.packs_of(step - 1)
    indices = [int(d) for pack in packs for d in sampler.plan[int(pack)]]
    names = corpus.names_of(indices)
    dump = AnomalyDump(
        schema=SCHEMA, step=step, reason=anomaly.reason, loss=str(anomaly.loss), grad_norm=str(anomaly.grad_norm),
        median_loss=anomaly.median_loss, median_norm=anomaly.median_norm, packs=packs.tolist(),
        documents=[{"index": index, **asdict(name)} for index, name in zip(indices, names, strict=True)],
        skipped=list(skipped), processes=processes, time=time.time(), job=job.model_dump(mode="json"),
    )  # fmt: skip
    lengths, (ids, roles, weights) = concatenate([corpus.document(index) for index in indices])
    if users_files(folder, DUMP):
        folder = folder.with_name(f"{folder.name}-{time.time_ns()}")
    with replacing(folder, DUMP, "dump") as building:
        np.savez(building / "batch.npz", lengths=lengths, ids=ids, roles=roles, weights=weights)
        torch.save(torch.get_rng_state(), building / "rng.pt")
        (building / "dump.json").write_text(json.dumps(asdict(dump), indent=1), encoding="utf-8")
    return folder


def command(folder: Path) -> str:
    """The command line that replays a dump, in one process for any layout."""
    return f"{Path(sys.executable).name} -m codeact_train.parity.replay {shlex.quote(str(folder))}"
