"""Turns the name of a set of training records into a JSON Lines file on this machine.

Contract: a file's path is itself; ``NAME:SPLIT`` is a split of a data set, where NAME is a folder or a hub id
(``owner/name``) that ``datasets`` can load and whose rows have the form of a record (``docs/files.md``). The file is
written anew each time, whole, so it is never staler than its source. Whatever cannot be had is one :class:`ValueError`
sentence. Cost: one pass over the rows; the download once, in the cache of ``datasets``.
"""

from __future__ import annotations

import os
from pathlib import Path

from codeact_train.prepare_config import PrepareConfig, SourceSettings
from launch.models import default_cache
from launch.say import say


def on_this_machine(config: PrepareConfig) -> PrepareConfig:
    """The same mixture with a file behind each of its sources."""
    return config.model_copy(update={"sources": tuple(map(_with_file, config.sources))})


def _with_file(source: SourceSettings) -> SourceSettings:
    return source if source.path is None else source.model_copy(update={"path": str(resolve_records(source.path))})


def resolve_records(path: str, cache: Path | None = None) -> Path:
    """The file of ``path``; written into ``cache`` when it is a split of a data set."""
    name, colon, split = path.rpartition(":")
    if Path(path).is_file() or not colon:
        return Path(path)  # prepare says so when it is missing
    out = (
        (default_cache() if cache is None else cache)
        / "records"
        / f"{name.strip('/').replace('/', '--')}-{split}.jsonl"
    )
    say(f"records: {split} of {name}")
    rows = _load(name, split)
    if missing := {"id", "conversations"} - set(rows.column_names):
        raise ValueError(
            f"prepare.sources path={path!r}: rows have no {' and no '.join(sorted(missing))}; convert them to records"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = out.with_name(f"{out.name}.{os.getpid()}.tmp")
    rows.to_json(unfinished, force_ascii=False)
    unfinished.replace(out)
    return out


def _load(name: str, split: str):  # type: ignore[no-untyped-def]  # datasets is slow to import
    from datasets import load_dataset

    try:
        return load_dataset(name, split=split)
    except Exception as error:  # datasets and the hub client raise many types; to the user they are one thing
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"prepare.sources path='{name}:{split}': cannot be loaded ({reason}); check name, split and network, or "
            "give a JSON Lines file or a folder with the data set"
        ) from error
