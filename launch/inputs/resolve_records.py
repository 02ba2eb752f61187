"""Resolves the name of a set of training records to a JSON Lines file on this machine.

Contract: a file of records stays as it is; a file of runs of the MINT benchmark is converted
(:mod:`launch.inputs.mint_runs`); ``NAME:SPLIT`` is a split of a data set, where NAME is a folder or a hub id
(``owner/name``) that ``datasets`` can load and whose rows have the form of a record (``docs/reference/files.md``). A
file is converted at each call, completely, so it is as new as its source. Errors are :class:`ValueError` with one
sentence. Cost: one pass over the rows; one download, into the cache of ``datasets``.
"""

from __future__ import annotations

from pathlib import Path

from codeact_train import PrepareConfig, SourceSettings
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
    """The file of records for ``path``; a converted one is written into ``cache``."""
    folder = (default_cache() if cache is None else cache) / "records"
    name, colon, split = path.rpartition(":")
    if not Path(path).is_file() and colon:
        return _from_data_set(name, split, folder)
    if Path(path).is_file() and mint_runs.is_runs(Path(path)):
        return _from_runs(Path(path), folder)
    return Path(path)  # prepare reports a missing file


def _from_data_set(name: str, split: str, folder: Path) -> Path:
    say(f"records: {split} of {name}")
    rows = _load(name, split)
    if missing := {"id", "conversations"} - set(rows.column_names):
        raise ValueError(
            f"prepare.sources path='{name}:{split}': rows have no {' and no '.join(sorted(missing))}; "
            "convert them to records"
        )
    with atomic_file(folder / f"{_flat(name)}-{split}.jsonl") as file:
        rows.to_json(file, force_ascii=False)
    return folder / f"{_flat(name)}-{split}.jsonl"


def _from_runs(path: Path, folder: Path) -> Path:
    say(f"records: the runs in {path}")
    out = folder / f"{_flat(str(path.resolve()))}.jsonl"
    with atomic_file(out) as file, file.open("w", encoding="utf-8") as lines:
        lines.writelines(mint_runs.records(path))
    return out


def _flat(name: str) -> str:
    return name.strip("/").replace("/", "--")


def _load(name: str, split: str):  # type: ignore[no-untyped-def]  # datasets is slow to import
    from datasets import load_dataset

    try:
        return load_dataset(name, split=split)
    except Exception as error:  # datasets and the hub client raise many types
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"prepare.sources path='{name}:{split}': cannot be loaded ({reason}); check name, split and network, or "
            "give a JSON Lines file or a folder with the data set"
        ) from error
