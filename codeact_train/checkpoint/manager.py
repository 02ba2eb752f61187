"""Save and resume the whole state of a run: complete or not at all, and proved to be what it was.

Contract: ``checkpoints/step-000123/`` appears by renaming once everything in it is on disk and has been read back, then
``checkpoints/latest`` names it; whatever else a killed job left is removed by the next one. A save that is not the
live weights, or has the previous save's again, raises ``fingerprint.UnsoundSave`` and replaces nothing. The data
position is the step, the order of packs a function of the seed, so weights, moments, schedule, step, RNG and what the
guard remembers are all there is. A checkpoint of another corpus or recipe is refused, not mixed in. Cost: training
waits while the state is copied and fingerprinted, not while it is written; the event ``checkpoint`` says how long each
took.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from codeact_train.backends.run_state import RunState, Writing
from codeact_train.checkpoint import integrity
from codeact_train.checkpoint.integrity import Fingerprints
from codeact_train.checkpoint.retention import outdated
from codeact_train.config.train import CheckpointSettings
from codeact_train.distributed.parallel_context import any_rank

SCHEMA = 3


@dataclass(frozen=True)
class Checkpoint:
    """A complete one. ``meta`` is its ``meta.json``."""

    path: Path
    meta: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> Checkpoint:
        """Of a folder that holds one."""
        return cls(path, json.loads((path / "meta.json").read_text(encoding="utf-8")))

    @property
    def fingerprints(self) -> Fingerprints:
        """Of every tensor in it."""
        return {name: int(value, 16) for name, value in self.meta["fingerprints"].items()}


@dataclass
class _Pending:
    """A save that has begun. ``waited_s``: how long training has waited for it so far."""

    meta: dict[str, Any]
    live: Fingerprints
    learned: bool
    """Whether the last step had a learning rate."""
    writing: Writing
    began: float
    waited_s: float


class Checkpoints:
    """The checkpoint folder of one run. ``identity`` names what a checkpoint must have been trained on and with."""

    def __init__(self, folder: Path, identity: dict[str, str], settings: CheckpointSettings, device: torch.device):
        self.folder, self.identity, self.settings, self.device = folder, identity, settings, device
        self._pending: _Pending | None = None

    def clean(self) -> None:
        """Make the folder, and remove what a killed job left half-written. Every process calls it, before training."""
        if dist.get_rank() == 0:
            self.folder.mkdir(parents=True, exist_ok=True)
            for left in self.folder.glob("step-*"):
                if left.suffix == ".building" or not (left / "meta.json").is_file():
                    shutil.rmtree(left)
        dist.barrier()

    def path_of(self, step: int) -> Path:
        """Where the checkpoint of a step goes."""
        return self.folder / f"step-{step:06}"

    def latest(self) -> Checkpoint | None:
        """The newest complete checkpoint: the one ``latest`` names; what there is, when somebody has removed that or a
        job has died before it could name its first."""
        pointer = self.folder / "latest"
        if pointer.is_file():
            named = self.folder / pointer.read_text(encoding="utf-8").strip()
            if (named / "meta.json").is_file():
                return Checkpoint.read(named)
        return max(self._complete(), key=_step, default=None)

    def holds(self, step: int) -> bool:
        """Whether the newest checkpoint, complete or begun, is of this step."""
        if self._pending:
            return bool(self._pending.meta["step"] == step)
        latest = self.latest()
        return latest is not None and latest.meta["step"] == step

    def begin(self, state: RunState, *, taken: int, **notes: Any) -> None:
        """Begin to save ``state`` as it is now, with ``notes`` in ``meta.json``; an earlier save must have ended.
        ``taken``: how many of its steps were not left out. Every process calls it."""
        assert self._pending is None
        began = time.monotonic()
        building = self._building(state.step)
        if dist.get_rank() == 0:
            building.mkdir()
        dist.barrier()
        meta = {
            "schema": SCHEMA,
            "step": state.step,
            "data_position": state.step,
            "steps_taken": taken,
            **self.identity,
            "processes": dist.get_world_size(),
            **notes,
        }
        writing, live = state.write(building), integrity.over_processes(state.fingerprints())
        self._pending = _Pending(meta, live, state.lr > 0, writing, began, time.monotonic() - began)

    def complete(self, *, wait: bool) -> tuple[Checkpoint, dict[str, float]] | None:
        """The save under way and how long it took, if it has ended in every process; with ``wait``, when it has.
        Every process calls it. Raises ``fingerprint.UnsoundSave`` when it is not what was to be saved."""
        pending = self._pending
        if pending is None or (not wait and any_rank(not pending.writing.done(), self.device)):
            return None
        self._pending, began = None, time.monotonic()
        saved, step = integrity.over_processes(pending.writing.end()), pending.meta["step"]
        self._check(pending, saved)
        pending.meta["fingerprints"] = {name: f"{value:016x}" for name, value in sorted(saved.items())}
        if dist.get_rank() == 0:
            self._put_in_place(step, pending.meta)
        dist.barrier()
        now = time.monotonic()
        took = {"waited_s": pending.waited_s + now - began, "save_s": now - pending.began}
        return Checkpoint(self.path_of(step), pending.meta), {name: round(s, 6) for name, s in took.items()}

    def find(self, before: int | None = None) -> Checkpoint | None:
        """The newest checkpoint, or the newest of a step ``before`` this; None without one.

        Raises ``ValueError`` when it belongs to another corpus, model or recipe.
        """
        found = self.latest() if before is None else max(self._complete(before), key=_step, default=None)
        for key, mine in {"schema": SCHEMA, **self.identity}.items():
            if found and found.meta[key] != mine:
                raise ValueError(
                    f"{key}={mine}: the checkpoint {found.path} was made with {key}={found.meta[key]}; "
                    "give this run another name, or remove its train folder to start over"
                )
        return found

    def resume(self, state: RunState, before: int | None = None) -> Checkpoint | None:
        """Fill ``state`` from what :meth:`find` finds, if anything."""
        found = self.find(before)
        if found:
            state.read(found.path)
            state.step = _step(found)
        return found

    def _complete(self, before: float = math.inf) -> list[Checkpoint]:
        """Every checkpoint on disk of a step before this."""
        folders = (meta.parent for meta in self.folder.glob("step-*/meta.json"))
        found = (Checkpoint.read(folder) for folder in folders if folder.suffix != ".building")
        return [one for one in found if _step(one) < before]

    def _building(self, step: int) -> Path:
        path = self.path_of(step)
        return path.with_name(f"{path.name}.building")

    def _check(self, pending: _Pending, saved: Fingerprints) -> None:
        meta, latest = pending.meta, self.latest()
        since = meta["steps_taken"] - latest.meta["steps_taken"] if latest else 0
        previous = latest.fingerprints if latest and since else {}
        where = f"checkpoint {self._building(meta['step'])}"
        integrity.check(where, pending.live, saved, previous, f"{since} step(s)", learned=pending.learned)

    def _put_in_place(self, step: int, meta: dict[str, Any]) -> None:
        building, path = self._building(step), self.path_of(step)
        write_atomically(building / "meta.json", json.dumps(meta, indent=1))
        if path.exists():  # a complete one that `latest` never named
            _remove(path)
        building.rename(path)
        write_atomically(self.folder / "latest", path.name)
        losses = {_step(one): one.meta.get("validation_loss") for one in self._complete()}
        for old in outdated(losses, self.settings):
            _remove(self.path_of(old))


def _step(checkpoint: Checkpoint) -> int:
    return int(checkpoint.meta["step"])


def _remove(path: Path) -> None:
    """Remove a checkpoint; a kill on the way leaves nothing that looks like one."""
    going = path.with_name(f"{path.name}.going.building")
    path.rename(going)
    shutil.rmtree(going)


def write_atomically(path: Path, text: str) -> None:
    """Write a small file so that a reader sees the old one or the new one, never a part."""
    temporary = path.with_name(f"{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
