"""Downloads the files of data sets into a data root, when a person asks for it.

Contract: a file is streamed to a temporary name, its SHA-256 is compared with the known one, and only then it gets its
name; an interrupted or wrong download leaves nothing. From the Hugging Face hub, ``datasets`` reads one split, which
is written as Parquet. Nothing else in the project downloads data sets.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import httpx2

from rollout.bank.files import atomic_file
from rollout.families.data.source import DataRoot, DataSource, MissingDataError

_COMPRESSED = (".gz", ".xz", ".bz2", ".zip", ".tar")
_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Fetched:
    """A file of a data root. ``note`` says how it came there; ``sha256`` is empty for a file that was there already."""

    path: Path
    note: str
    sha256: str = ""


def fetch_source(source: DataSource, root: DataRoot, *, from_hub: bool = False) -> Fetched:
    """Downloads a file unless the data root has it already.

    Args:
        source: the file.
        root: where it goes.
        from_hub: take it from the Hugging Face hub, also when the original has an address of its own.

    Raises:
        ValueError: there is no address, the download fails, or its digest is not the known one.
    """
    try:
        return Fetched(root.find(source), "was here already")
    except MissingDataError:
        pass
    if source.url and not from_hub:
        return _download(source, root.folder / _target(source, root))
    if source.hub:
        return _from_hub(source, root.folder / source.hub_file)
    where = f"; the original is at {source.url}" if source.url else ""
    raise ValueError(f"{source.files[0]} cannot be fetched: its source is not on the hub{where}")


def _target(source: DataSource, root: DataRoot) -> str:
    """The name in the data root that reads the file as it is at its address."""
    suffix = PurePosixPath(urlsplit(source.url).path).suffix
    for name in source.files:
        own = PurePosixPath(name).suffix
        if "*" not in name and own and (own == suffix or not {own, suffix} & set(_COMPRESSED)):
            return name
    raise ValueError(
        f"{source.url} is of another form than {source.files[0]}; download and unpack it to {root.folder} yourself"
    )


def _download(source: DataSource, target: Path) -> Fetched:
    digest = hashlib.sha256()
    try:
        with (
            atomic_file(target) as unfinished,
            httpx2.stream("GET", source.url, follow_redirects=True, timeout=_TIMEOUT_S) as reply,
            unfinished.open("wb") as file,
        ):
            if reply.status_code != httpx2.codes.OK:
                raise ValueError(f"{source.url} answers {reply.status_code} {reply.reason_phrase}; nothing was written")
            for block in reply.iter_bytes():
                digest.update(block)
                file.write(block)
            if source.sha256 and digest.hexdigest() != source.sha256:
                raise ValueError(
                    f"{source.url} has the SHA-256 {digest.hexdigest()}, not {source.sha256}: the file has changed or "
                    "the download is damaged; nothing was written"
                )
    except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as fault:
        raise ValueError(f"{source.url} cannot be downloaded: {type(fault).__name__}: {fault}") from fault
    note = "its SHA-256 is the known one" if source.sha256 else "no SHA-256 of it is known to compare with"
    return Fetched(target, f"from {source.url}; {note}", digest.hexdigest())


def _from_hub(source: DataSource, target: Path) -> Fetched:
    import datasets

    try:
        rows = datasets.load_dataset(source.hub, source.hub_config or None, split=source.hub_split or None)
    except (OSError, ValueError) as fault:
        raise ValueError(
            f"the data set {source.hub} cannot be read from the hub: {type(fault).__name__}: {fault}"
        ) from fault
    if not isinstance(rows, datasets.Dataset):
        raise ValueError(f"the data set {source.hub} has the splits {', '.join(rows)}; its source must name one")
    with atomic_file(target) as unfinished:
        rows.to_parquet(str(unfinished))
    return Fetched(target, f"{len(rows)} rows from {source.hub} on the hub")
