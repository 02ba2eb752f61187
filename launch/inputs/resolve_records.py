"""Resolves the name of a set of training records to a file or folder on this machine that prepare can read.

Contract: a file of records, of any form (``docs/reference/files.md``), and a folder that ``save_to_disk`` of
``datasets`` wrote stay as they are; a file of runs of MINT is converted (:mod:`launch.inputs.mint_runs`);
``NAME:SPLIT`` is a split of a data set, where NAME is a folder or a hub id (``owner/name``) that ``datasets`` can load
and whose rows have a conversation. ``~`` is the home folder. A file is converted at each call, completely, so it is as
new as its source. Errors are :class:`ValueError` with one sentence. Cost: one pass over the rows; one download, into
the cache of ``datasets``.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from codeact_train import CONVERSATIONS, PrepareConfig, SourceSettings, saved_splits
from launch.console import say
from launch.inputs import mint_runs
from launch.inputs.resolve_model import default_cache
from rollout import atomic_file


def on_this_machine(config: PrepareConfig) -> PrepareConfig:
    """The same mixture, with a file of records for each of its sources."""
    return config.model_copy(update={"sources": tuple(map(_with_file, config.sources))})


def _with_file(source: SourceSettings) -> SourceSettings:
    if source.path is None or (file := resolve_records(source.path)) == Path(source.path):
        return source
    return source.model_copy(update={"path": str(file), "name": source.name or Path(source.path).name})


def resolve_records(path: str, cache: Path | None = None) -> Path:
    """The file or folder of records for ``path``; a converted one is written into ``cache``."""
    folder = (default_cache() if cache is None else cache) / "records"
    given = Path(path).expanduser()
    name, colon, split = str(given).rpartition(":")
    if not given.exists() and colon:
        return _saved_split(Path(name), split) or _from_data_set(name, split, folder)
    if len(only := saved_splits(given)) == 1:
        return given / only[0]
    if given.is_file() and mint_runs.is_runs(given):
        return _from_runs(given, folder)
    return given  # prepare reports a missing file


def _saved_split(folder: Path, split: str) -> Path | None:
    """The folder of a split that ``save_to_disk`` wrote; None for another data set."""
    splits = saved_splits(folder)
    if not splits:
        return None
    if split not in splits:
        raise ValueError(
            f"prepare.sources path='{folder}:{split}': no such split; the saved data set has {', '.join(splits)}"
        )
    return folder / split


def _from_data_set(name: str, split: str, folder: Path) -> Path:
    say(f"records: {split} of {name}")
    rows = _load(name, split)
    if not set(CONVERSATIONS) & set(rows.column_names):
        raise ValueError(
            f"prepare.sources path='{name}:{split}': rows have no column {' or '.join(CONVERSATIONS)}, but "
            f"{', '.join(rows.column_names)}; write their conversations into one of these columns"
        )
    out = folder / _cached(f"{name}/{split}")
    with atomic_file(out) as file:
        rows.to_json(file, force_ascii=False)
    return out


def _from_runs(path: Path, folder: Path) -> Path:
    say(f"records: the runs in {path}")
    out = folder / _cached(str(path.resolve()))
    with atomic_file(out) as file, file.open("w", encoding="utf-8") as lines:
        lines.writelines(mint_runs.records(path))
    return out


def _cached(name: str) -> str:
    """A name in the cache that no other source and no file of the user's has."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return f"{name.strip('/').replace('/', '--')[-100:]}-{digest}.jsonl"


def _load(name: str, split: str):  # type: ignore[no-untyped-def]  # datasets is slow to import
    from datasets import load_dataset

    try:
        return load_dataset(name, split=split)
    except Exception as error:  # datasets and the hub client raise many types
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"prepare.sources path='{name}:{split}': cannot be loaded ({reason}); check name, split and network, or "
            "give a file of records or a folder with the data set"
        ) from error
