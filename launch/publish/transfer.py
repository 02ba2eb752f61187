"""Data sets to and from a folder or the Hugging Face hub.

Contract: a folder appears complete or not at all, and a folder with files of the user's is never replaced. On the hub a
push is one commit, which also removes the data files of the commit before; a pull takes one commit. Keys come from the
environment (``HF_TOKEN``) or from ``hf auth login``, ``HF_ENDPOINT`` names another hub.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from codeact_train import ReadingSettings, Record, read_records
from codeact_train.system.folders import MARK, FolderKind, listed, replacing
from launch.publish.build import Publication, build_data_set

DATA_SET = FolderKind("data set", MARK, ("kind", "files"))
_OF_A_NEW_DATA_SET = (".gitattributes", "README.md")
RECORDS = FolderKind("folder of records", MARK, ("kind", "files"))


def push_to_folder(what: Publication, folder: Path) -> dict[str, Any]:
    """Writes the data set as a folder that ``datasets`` loads; returns the tables of its splits.

    Raises:
        ValueError: the folder holds other files, or the records cannot be published.
    """
    with replacing(folder, DATA_SET, "--folder") as building:
        return build_data_set(what, building)


def push_to_hub(
    what: Publication, name: str, *, private: bool = False, endpoint: str | None = None
) -> tuple[dict[str, Any], str]:
    """Writes the data set to the hub in one commit; returns the tables of its splits and the address of the commit.

    Raises:
        ValueError: the records cannot be published, the hub refuses, or it has a data set of this name that no push
            wrote.
    """
    from huggingface_hub import HfApi

    hub = HfApi(endpoint=endpoint)
    with _hub_errors(f"--hub {name}", "pushed"):
        others = _others_files(hub, name)
    if others:
        raise ValueError(
            f"--hub {name}: it holds {listed(others)}, not pushed by codeact; it stays as it is: give another name"
        )
    with tempfile.TemporaryDirectory(prefix="codeact-push-") as scratch:
        folder = Path(scratch) / "data_set"
        tables = push_to_folder(what, folder)
        with _hub_errors(f"--hub {name}", "pushed"):
            hub.create_repo(name, repo_type="dataset", private=private, exist_ok=True)
            commit = hub.upload_folder(
                repo_id=name, folder_path=folder, repo_type="dataset", delete_patterns=["data/*"],
                commit_message=f"Write {', '.join(what.splits)}",
            )  # fmt: skip
    return tables, str(commit.commit_url)


def _others_files(hub: Any, name: str) -> list[str]:
    """The files of a data set on the hub that no push wrote; none when it does not exist or is ours."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        files = hub.list_repo_files(name, repo_type="dataset")
    except RepositoryNotFoundError:
        return []
    return [] if MARK in files else [file for file in files if file not in _OF_A_NEW_DATA_SET]


def pull(source: str, out: Path, *, revision: str | None = None, endpoint: str | None = None) -> dict[str, int]:
    """Writes each split of a data set to ``out/SPLIT.jsonl``, and its card beside them.

    Args:
        source: a folder, or the name of a data set on the hub.
        out: folder to write; one that an earlier pull wrote is replaced.
        revision: commit, branch or tag on the hub.
        endpoint: address of another hub.

    Returns:
        Split → number of records.

    Raises:
        ValueError: the data set cannot be fetched or read, or ``out`` holds other files.
    """
    folder = Path(source).expanduser()
    with tempfile.TemporaryDirectory(prefix="codeact-pull-") as scratch, replacing(out, RECORDS, "--out") as building:
        if not folder.is_dir():
            folder = _fetch(source, Path(scratch) / "files", revision, endpoint)
        counts = {}
        for split, rows in _splits(source, folder, Path(scratch) / "cache").items():
            file = Path(scratch) / f"{split}.jsonl"
            rows.to_json(file, force_ascii=False)
            counts[split] = _write_records(f"{source}:{split}", file, building / f"{split}.jsonl")
        if (folder / "README.md").is_file():
            shutil.copyfile(folder / "README.md", building / "README.md")
    return counts


def _fetch(name: str, folder: Path, revision: str | None, endpoint: str | None) -> Path:
    from huggingface_hub import snapshot_download

    with _hub_errors(name, "fetched"):
        snapshot_download(name, repo_type="dataset", revision=revision, local_dir=folder, endpoint=endpoint)
    return folder


def _splits(source: str, folder: Path, cache: Path) -> Any:
    from datasets import disable_progress_bars, load_dataset

    disable_progress_bars()
    try:
        return load_dataset(str(folder), cache_dir=str(cache))
    except Exception as error:  # datasets raises many types
        raise ValueError(f"{source}: it is no data set that `datasets` loads ({_first_line(error)})") from error


def _write_records(source: str, rows: Path, out: Path) -> int:
    count = 0
    with out.open("w", encoding="utf-8") as lines:
        for place, item in read_records(rows, ReadingSettings()):
            if not isinstance(item, Record):
                raise ValueError(f"{source}, row {place}: {item.detail}; it is no data set of records")
            lines.write(item.line())
            count += 1
    return count


@contextmanager
def _hub_errors(what: str, verb: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # the hub client raises some twenty types
        raise ValueError(
            f"{what}: cannot be {verb} ({_first_line(error)}); check the name, the network and HF_TOKEN"
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
