"""Save and resume the whole state of a run, in Megatron's distributed format.

Contract: ``checkpoints/step-000123/`` appears by renaming once everything in it is on disk, then ``checkpoints/latest``
names it; whatever else a killed job left is removed by the next one. Any tensor- or data-parallel layout loads any
other's. The data position is the step, the order of packs a function of the seed, so weights, moments, schedule, step
and RNG are all there is. A checkpoint of another corpus or recipe is refused, not mixed in. Cost: saving writes 12
bytes a parameter in fp32 (weight and two moments); the newest ``keep`` stay on disk.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from megatron.core import dist_checkpointing

from codeact_train import compat
from codeact_train.optimizer import allocate_state, separate_steps
from codeact_train.state import RunState

if TYPE_CHECKING:
    from codeact_train.megatron import MegatronState

SCHEMA = 1
# mcore's own names for "load into any layout"
_METADATA = {"distrib_optim_sharding_type": "fully_reshardable", "singleton_local_shards": False}


class Checkpoints:
    """The checkpoint folder of one run. ``identity`` names what a checkpoint must have been trained on and with."""

    def __init__(self, folder: Path, identity: dict[str, str], keep: int):
        self.folder, self.identity, self.keep = folder, identity, keep
        if dist.get_rank() == 0:
            folder.mkdir(parents=True, exist_ok=True)
            for left in folder.glob("*.building"):
                shutil.rmtree(left)
        dist.barrier()

    def path_of(self, step: int) -> Path:
        """Where the checkpoint of a step goes."""
        return self.folder / f"step-{step:06}"

    def latest(self) -> Path | None:
        """The newest complete checkpoint."""
        pointer = self.folder / "latest"
        if not pointer.is_file():
            return None
        return self.folder / pointer.read_text(encoding="utf-8").strip()

    def save(self, state: RunState) -> Path:
        """Write a checkpoint of ``state``; every process calls it and returns when it is complete."""
        path = self.path_of(state.step)
        building = self.folder / f"{path.name}.building"
        if dist.get_rank() == 0:
            building.mkdir()
        dist.barrier()
        state.write(building)
        if dist.get_rank() == 0:
            self._complete(building, path, state.step)
        dist.barrier()
        return path

    def _complete(self, building: Path, path: Path, step: int) -> None:
        meta = {
            "schema": SCHEMA,
            "step": step,
            "data_position": step,
            **self.identity,
            "processes": dist.get_world_size(),
        }
        write_atomically(building / "meta.json", json.dumps(meta, indent=1))
        shutil.rmtree(path, ignore_errors=True)  # a complete one that `latest` never named
        building.rename(path)
        write_atomically(self.folder / "latest", path.name)
        complete = sorted(p for p in self.folder.glob("step-*") if p.suffix != ".building")
        for old in complete[: -self.keep]:
            shutil.rmtree(old)

    def resume(self, state: RunState) -> Path | None:
        """Fill ``state`` from the newest checkpoint, if there is one.

        Raises ``ValueError`` when it belongs to another corpus, model or recipe.
        """
        path = self.latest()
        if path is None:
            return None
        meta = json.loads((path / "meta.json").read_text(encoding="utf-8"))
        for key, mine in self.identity.items():
            if meta[key] != mine:
                raise ValueError(
                    f"{key}={mine}: the checkpoint {path} was made with {key}={meta[key]}; "
                    "give this run another name, or remove its train folder to start over"
                )
        state.read(path)
        state.step = meta["step"]
        return path


def write_sharded(state: MegatronState, folder: Path) -> None:
    """Write model, optimizer, schedule and RNG in Megatron's distributed format."""
    with compat.cpu_tensors_pass():
        dist_checkpointing.save(_sharded(state, loading=False), str(folder), content_metadata=_METADATA)


def read_sharded(state: MegatronState, folder: Path) -> None:
    """Fill a state that has not stepped yet."""
    allocate_state(state.optimizer)
    with compat.cpu_tensors_pass():
        loaded = dist_checkpointing.load(_sharded(state, loading=True), str(folder))
    state.model.module.load_state_dict(loaded["model"])
    with compat.cpu_tensors_pass():
        state.optimizer.load_state_dict(loaded["optimizer"])
    separate_steps(state.optimizer)
    state.schedule.load_state_dict(loaded["schedule"])
    torch.set_rng_state(loaded["rng"])


def _sharded(state: MegatronState, loading: bool) -> dict[str, Any]:
    model = state.model.module.sharded_state_dict(metadata=_METADATA)
    return {
        "model": model,
        "optimizer": state.optimizer.sharded_state_dict(model, is_loading=loading, metadata=_METADATA),
        "schedule": state.schedule.state_dict(),
        "rng": torch.get_rng_state(),
    }


def write_atomically(path: Path, text: str) -> None:
    """Write a small file so that a reader sees the old one or the new one, never a part."""
    temporary = path.with_name(f"{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
