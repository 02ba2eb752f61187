"""Save and resume the whole state of a run: completely or not at all, and verified.

Contract: ``checkpoints/step-000123/`` appears by renaming once everything in it is on disk and has been read back, then
``checkpoints/latest`` names it. The next job removes any other folder a killed job left behind. A save that differs
from the live weights, or equals the previous save, raises ``integrity.CorruptSave`` and replaces nothing. The data
position is the step and the order of packs a function of the seed, so weights, moments, schedule, step, RNG and the
anomaly detector's history are all the state there is. A checkpoint of another corpus or recipe is refused; one whose
files are damaged is named, and the one before it is used. Cost: training waits while the state is copied and
fingerprinted, not while it is written; the event ``checkpoint`` reports both times.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.distributed as dist

from codeact_train.checkpoint import integrity
from codeact_train.checkpoint.damage import UNREADABLE, damage
from codeact_train.checkpoint.integrity import Fingerprints
from codeact_train.checkpoint.leftovers import is_checkpoint_name, unfinished, users_files
from codeact_train.checkpoint.retention import outdated
from codeact_train.checkpoint.state import Checkpointable, PendingSave
from codeact_train.config.train import CheckpointSettings
from codeact_train.distributed.parallel_context import any_rank
from codeact_train.system.failures import FailedEverywhere

SCHEMA = 3


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint on disk. ``meta`` is its ``meta.json``."""

    path: Path
    meta: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> Checkpoint:
        """Open the checkpoint in a folder."""
        return cls(path, json.loads((path / "meta.json").read_text(encoding="utf-8")))

    @property
    def fingerprints(self) -> Fingerprints:
        """Fingerprints of every tensor in it."""
        return {name: int(value, 16) for name, value in self.meta["fingerprints"].items()}


@dataclass
class _Started:
    """A save that has started. ``waited_s``: how long training has waited for it so far."""

    meta: dict[str, Any]
    live: Fingerprints
    learned: bool
    """Whether the last step had a learning rate."""
    save: PendingSave
    began: float
    waited_s: float


class CheckpointManager:
    """The checkpoint folder of one run.

    ``identity``: what a checkpoint must have been trained on and with. ``cpu_group``: a gloo group of all processes
    (``ParallelContext.cpu_group``); only saving needs it.
    """

    def __init__(
        self, folder: Path, identity: dict[str, str], settings: CheckpointSettings, cpu_group: dist.ProcessGroup | None
    ):
        self.folder, self.identity, self.settings, self.cpu_group = folder, identity, settings, cpu_group
        self._started: _Started | None = None
        self._damaged: dict[str, str] = {}  # folder name: what is wrong with it

    def remove_incomplete(self) -> None:
        """Create the folder, and remove what a killed job left half-written. Every process calls it before training."""
        if dist.get_rank() == 0:
            self.folder.mkdir(parents=True, exist_ok=True)
            for left in unfinished(self.folder):
                shutil.rmtree(left)
        dist.barrier()

    def path_of(self, step: int) -> Path:
        """Folder of the checkpoint of a step."""
        return self.folder / f"step-{step:06}"

    def latest(self) -> Checkpoint | None:
        """Newest complete checkpoint: the one in ``latest``, else the highest step on disk."""
        pointer = self.folder / "latest"
        if pointer.is_file():
            named = self.folder / pointer.read_text(encoding="utf-8").strip()
            if (named / "meta.json").is_file() and (whole := self._read(named)):
                return whole
        return max(self._complete(), key=_step, default=None)

    def has_step(self, step: int) -> bool:
        """Whether the newest checkpoint, complete or started, is of this step."""
        if self._started:
            return bool(self._started.meta["step"] == step)
        latest = self.latest()
        return latest is not None and latest.meta["step"] == step

    def start_save(self, state: Checkpointable, *, steps_taken: int, **notes: Any) -> None:
        """Start to save ``state`` as it is now, with ``notes`` in ``meta.json``; an earlier save must be complete.

        ``steps_taken``: how many of its steps were not skipped. Every process calls it.
        """
        assert self._started is None
        began = time.monotonic()
        building = self._building(state.step)
        if dist.get_rank() == 0:
            building.mkdir()
        dist.barrier()
        meta = {
            "schema": SCHEMA,
            "step": state.step,
            "data_position": state.step,
            "steps_taken": steps_taken,
            **self.identity,
            "processes": dist.get_world_size(),
            **notes,
        }
        save, live = state.write(building), integrity.sum_over_processes(state.fingerprints())
        self._started = _Started(meta, live, state.lr > 0, save, began, time.monotonic() - began)

    def complete_save(self, *, wait: bool) -> tuple[Checkpoint, dict[str, float]] | None:
        """Verify and publish the started save once every process has written its part; returns it and its timings.

        Without ``wait`` returns ``None`` while a process still writes. Every process calls it. Raises
        ``integrity.CorruptSave`` when the files are not the state that was to be saved, and ``FailedEverywhere`` when
        the disk cannot hold them.
        """
        started = self._started
        if started is None or (not wait and any_rank(not started.save.done(), self.cpu_group)):
            return None
        self._started, began = None, time.monotonic()
        step = started.meta["step"]
        try:
            saved = integrity.sum_over_processes(started.save.finish())
        except FailedEverywhere:
            if dist.get_rank() == 0:
                shutil.rmtree(self._building(step), ignore_errors=True)  # the disk may be full
            raise
        self._check(started, saved)
        started.meta["fingerprints"] = {name: f"{value:016x}" for name, value in sorted(saved.items())}
        if dist.get_rank() == 0:
            self._publish(step, started.meta)
        dist.barrier()
        now = time.monotonic()
        took = {"waited_s": started.waited_s + now - began, "save_s": now - started.began}
        return Checkpoint(self.path_of(step), started.meta), {name: round(s, 6) for name, s in took.items()}

    def find(self, before: int | None = None) -> Checkpoint | None:
        """The newest checkpoint, or the newest of a step ``before`` this one; ``None`` if there is none.

        Raises ``ValueError`` when it belongs to another corpus, model or recipe.
        """
        found = self._newest_sound(before)
        for key, mine in {"schema": SCHEMA, **self.identity}.items():
            if found and found.meta[key] != mine:
                raise ValueError(
                    f"{key}={mine}: the checkpoint {found.path} was made with {key}={found.meta[key]}; "
                    "give this run another name, or remove its train folder to start over"
                )
        return found

    def resume(self, state: Checkpointable, before: int | None = None) -> Checkpoint | None:
        """Load the checkpoint that :meth:`find` returns into ``state``, if there is one."""
        found = self.find(before)
        if found:
            try:
                state.read(found.path)
            except UNREADABLE as error:
                reason = " ".join(str(error).split()) or type(error).__name__
                raise ValueError(
                    f"checkpoint {found.path}: cannot be read ({reason}); move this folder away, and the same command "
                    "uses the one before it, or the base model if there is none"
                ) from error
            state.step = _step(found)
        return found

    def _newest_sound(self, before: int | None) -> Checkpoint | None:
        """The newest checkpoint whose files are all whole; the main process names those that are not."""
        while found := self.latest() if before is None else max(self._complete(before), key=_step, default=None):
            if not (reason := damage(found.path)):
                break
            self._damaged[found.path.name] = reason
        if self._damaged and found is None and before is None:
            name, reason = max(self._damaged.items())
            raise ValueError(
                f"checkpoint {self.folder / name}: {reason}, and there is no whole one before it; restore the file, or "
                f"remove {self.folder} to train from the base model"
            )
        if found and dist.get_rank() == 0:
            for name, reason in self._damaged.items():
                print(f"notice: checkpoint {self.folder / name}: {reason}; {found.path.name} is used", file=sys.stderr)
        return found

    def _complete(self, before: float = math.inf) -> list[Checkpoint]:
        """Every complete checkpoint on disk of a step before this one, without those known to be damaged."""
        folders = (meta.parent for meta in self.folder.glob("step-*/meta.json"))
        found = (self._read(folder) for folder in folders if is_checkpoint_name(folder.name))
        return [one for one in found if one and _step(one) < before]

    def _read(self, folder: Path) -> Checkpoint | None:
        """The checkpoint in a folder; ``None``, remembered, when it is damaged."""
        if folder.name in self._damaged:
            return None
        try:
            return Checkpoint.read(folder)
        except ValueError:
            self._damaged[folder.name] = "meta.json is cut off or not JSON"
            return None

    def _building(self, step: int) -> Path:
        path = self.path_of(step)
        return path.with_name(f"{path.name}.building")

    def _check(self, started: _Started, saved: Fingerprints) -> None:
        meta, latest = started.meta, self.latest()
        since = meta["steps_taken"] - latest.meta["steps_taken"] if latest else 0
        previous = latest.fingerprints if latest and since else {}
        where = f"checkpoint {self._building(meta['step'])}"
        integrity.check(where, started.live, saved, previous, f"{since} step(s)", learned=started.learned)

    def _publish(self, step: int, meta: dict[str, Any]) -> None:
        """Rename the folder, point ``latest`` at it and remove outdated checkpoints."""
        building, path = self._building(step), self.path_of(step)
        write_atomically(building / "meta.json", json.dumps(meta, indent=1))
        if path.exists():  # a complete checkpoint that `latest` never named
            _remove(path)
        building.rename(path)
        self._damaged.pop(path.name, None)
        write_atomically(self.folder / "latest", path.name)
        losses = {_step(one): one.meta.get("validation_loss") for one in self._complete()}
        for old in outdated(losses, self.settings):
            if not users_files(self.path_of(old)):
                _remove(self.path_of(old))


def _step(checkpoint: Checkpoint) -> int:
    return int(checkpoint.meta["step"])


def _remove(path: Path) -> None:
    """Remove a checkpoint; a kill on the way leaves nothing that looks like one."""
    removing = path.with_name(f"{path.name}.going.building")
    path.rename(removing)
    shutil.rmtree(removing)


def write_atomically(path: Path, text: str) -> None:
    """Write a small file so that a reader sees the old one or the new one, never a part."""
    temporary = path.with_name(f"{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
