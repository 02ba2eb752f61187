"""A step that went wrong, kept: what it was made of, and a command that computes it again.

Contract: ``capsules/step-000012/`` appears whole, written by the main process. ``capsule.json`` says what was wrong, on
which packs and documents and in which job; ``batch.npz`` has the documents' tokens, ``rng.pt`` the state of torch's
generator. :mod:`codeact_train.replay` computes it again. Cost: nothing until there is one.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from codeact_train.data.document import Document, joined
from codeact_train.observability.anomaly import Alarm

if TYPE_CHECKING:
    from codeact_train.trainer import Trainer

SCHEMA = 1


@dataclass(frozen=True)
class Capsule:
    """What ``capsule.json`` says. ``documents``: of the global batch, by index in the corpus. ``left_out``: steps
    that were not taken before. Losses are strings: JSON has no way to say NaN."""

    schema: int
    step: int
    reason: str
    loss: str
    grad_norm: str
    median_loss: float | None
    median_norm: float | None
    packs: list[int]
    documents: list[dict[str, Any]]
    left_out: list[int]
    processes: int
    time: float
    job: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> Capsule:
        """Raises ``ValueError`` when the folder holds none."""
        path = folder / "capsule.json"
        if not path.is_file():
            raise ValueError(f"capsule={folder}: no capsule.json there; name a folder under <train folder>/capsules")
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    def read_documents(self, folder: Path) -> list[Document]:
        """The documents, in the order of ``documents``."""
        with np.load(folder / "batch.npz") as stored:
            cuts = np.cumsum(stored["lengths"])[:-1]
            columns = (np.split(stored[name], cuts) for name in ("ids", "roles", "weights"))
            return [Document(*own) for own in zip(*columns, strict=True)]


def write(trainer: Trainer, step: int, alarm: Alarm) -> Path:
    """Write the capsule of a step, in the main process; returns its folder."""
    folder = trainer.out / "capsules" / f"step-{step:06}"
    packs = trainer.sampler.packs_of(step - 1)
    indices = [int(d) for pack in packs for d in trainer.sampler.plan[int(pack)]]
    names = trainer.corpus.names_of(indices)
    capsule = Capsule(
        schema=SCHEMA, step=step, reason=alarm.reason, loss=str(alarm.loss), grad_norm=str(alarm.grad_norm),
        median_loss=alarm.median_loss, median_norm=alarm.median_norm, packs=packs.tolist(),
        documents=[{"index": index, **asdict(name)} for index, name in zip(indices, names, strict=True)],
        left_out=[*trainer.guard.left_out, *trainer.train.guard.skip_steps], processes=trainer.place.world,
        time=time.time(), job=trainer.job.model_dump(mode="json"),
    )  # fmt: skip
    building = folder.with_name(f"{folder.name}.building")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    lengths, (ids, roles, weights) = joined([trainer.corpus.document(index) for index in indices])
    np.savez(building / "batch.npz", lengths=lengths, ids=ids, roles=roles, weights=weights)
    torch.save(torch.get_rng_state(), building / "rng.pt")
    (building / "capsule.json").write_text(json.dumps(asdict(capsule), indent=1), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    building.rename(folder)
    return folder


def command(folder: Path) -> str:
    """The line that replays a capsule, in one process whatever the layout was."""
    return f"{Path(sys.executable).name} -m codeact_train.replay {folder}"
