"""The train folder of a run: whose it is, which job may write it, and whether a job continues what is in it.

Contract: everything is decided before anything is written. :func:`held` refuses a folder of the user's, one that
another job holds, and one with checkpoints of another corpus, model or recipe; then it writes the job's settings to
``job.json`` and holds the folder. :func:`check_resumable` makes the last of these checks from JSON files alone, without
torch, for programs that start a job.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from codeact_train.checkpoint import leftovers
from codeact_train.config.recipe import recipe_differences, recipe_digest
from codeact_train.config.train import TrainConfig, TrainJob
from codeact_train.system.folders import EXPORT, MARK, check_replaceable, listed, read_object
from codeact_train.system.job_lock import hold_folder

NAMES = ("job.json", "metrics.jsonl", "checkpoints", "exports", "anomalies", "profile", "tensorboard")
"""What a job writes into its train folder."""

WAIT_S = 10.0
"""How long a job waits for the processes of one that was just killed."""


def model_digest(folder: Path) -> str:
    """Digest of a model's configuration, 16 hexadecimal digits."""
    return hashlib.sha256((folder / "config.json").read_bytes()).hexdigest()[:16]


def job_identity(train: TrainConfig, model: Path, corpus: str) -> dict[str, str]:
    """What a checkpoint must have in common with a job. ``corpus``: its digest."""
    return {"corpus": corpus, "recipe": recipe_digest(train), "model": model_digest(model)}


def trained_corpus(out: Path) -> str | None:
    """Digest of the corpus that the checkpoints in a train folder were trained on; ``None`` without a checkpoint."""
    found = _newest(out)
    return found[1].get("corpus") if found else None


def check_resumable(out: Path, train: TrainConfig, model: Path, corpus: str | None = None) -> None:
    """Raises ``ValueError`` when the checkpoints in ``out`` belong to another model, recipe or corpus; the message
    names each setting with both values.

    ``corpus``: digest of the corpus, if it is known already.
    """
    found = _newest(out)
    if not found:
        return
    checkpoint, meta = found
    mine = job_identity(train, model, corpus or str(meta.get("corpus")))
    wrong = [key for key in mine if meta.get(key) != mine[key]]
    if wrong:
        stored = meta.get("settings") or _settings_of_job(out, meta)
        changed = sorted(recipe_differences(stored, train)) if "recipe" in wrong else []
        parts = [f"{name}={value} (checkpoint: {before})" for name, value, before in changed]
        parts += [f"{key}={mine[key]} (checkpoint: {meta.get(key)}){_MEANING[key]}" for key in wrong]
        raise ValueError(
            f"{'; '.join(parts)}: a run cannot change what its checkpoint {checkpoint} was made with; give the former "
            "values, or another run="
        )


_MEANING = {
    "corpus": ", digests of the corpus, which was prepared from other records or settings",
    "recipe": ", digests of the settings that change the result",
    "model": ", digests of the base model's config.json",
}


def _settings_of_job(out: Path, meta: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in ``job.json``, if the checkpoint was made with them; those of earlier versions have none."""
    stored = read_object(out / "job.json").get("train", {})
    try:
        same = recipe_digest(TrainConfig.model_validate(stored)) == meta.get("recipe")
    except ValueError:
        same = False
    return stored if same else {}


def _newest(out: Path) -> tuple[Path, dict[str, Any]] | None:
    """Path and ``meta.json`` of a checkpoint; all in one folder have the same identity."""
    for path in sorted((out / "checkpoints").glob("step-*/meta.json"), reverse=True):
        meta = read_object(path) if leftovers.is_checkpoint_name(path.parent.name) else {}
        if meta:  # a damaged one is the checkpoint manager's to report
            return path.parent, meta
    return None


def check_ours(out: Path) -> None:
    """Raises ``ValueError`` when ``out`` holds files of the user's under the names of a train folder."""
    taken = [name for name in NAMES if (out / name).exists()]
    ours = (
        (out / MARK).is_file()
        or read_object(out / "job.json").keys() >= {"model", "corpus", "out"}
        or _newest(out) is not None
        or _is_metrics(out / "metrics.jsonl")
    )
    if taken and not ours:
        raise ValueError(
            f"out={out}: {listed(taken)} there was not written by a training job; it stays as it is, give another"
        )


def _is_metrics(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8") as file:
            first = json.loads(file.readline())
    except (OSError, ValueError):
        return False
    return isinstance(first, dict) and first.keys() >= {"kind", "step"}


@contextmanager
def held(job: TrainJob, corpus: str) -> Iterator[None]:
    """Hold the train folder of a job within the block, and write ``job.json``.

    Raises:
        ValueError: the folder is the user's, another job holds it, or its checkpoints are of another job.
    """
    out = Path(job.out)
    check_ours(out)
    with hold_folder(out, "out", "train", wait_s=WAIT_S):
        check_resumable(out, job.train, Path(job.model), corpus)
        leftovers.check(out / "checkpoints")
        _check_exports(out, job.train.epochs)
        _write_job(out / "job.json", job)
        yield


def _check_exports(out: Path, epochs: int) -> None:
    """Raises ``ValueError`` when an export that is still to be written would replace files of the user's."""
    found = _newest(out)
    done = int(found[1]["step"]) if found else 0
    for epoch in range(1, epochs + 1):
        folder = out / "exports" / f"epoch-{epoch}"
        step = read_object(folder / EXPORT.sign).get("step")
        if step is None or step > done:
            check_replaceable(folder, EXPORT, "out")


def _write_job(path: Path, job: TrainJob) -> None:
    """Write the settings, unless the same are there."""
    content = job.model_dump(mode="json")
    if read_object(path) == content:
        return
    temporary = path.with_name(f"{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(json.dumps(content, indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
