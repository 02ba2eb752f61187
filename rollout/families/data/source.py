"""Where the files of data sets are.

Contract: a :class:`DataSource` names one file of a data set: the paths it may have below a data root, where it can be
downloaded, and its name on the Hugging Face hub. :class:`DataRoot` finds it. Nothing is downloaded while tasks are
loaded; a file that is missing is a :class:`MissingDataError` that says how to get it. Files may be compressed
(``.gz``, ``.xz``), and a data set may also be Parquet or a folder that ``datasets`` saved.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rollout.families.data.rows import Row, read_members, read_rows, read_text

VARIABLE = "CODEACT_DATA"
DEFAULT_ROOT = Path("~/.cache/codeact/data")


class MissingDataError(ValueError):
    """A data set is not on this machine."""


@dataclass(frozen=True)
class DataSource:
    """One file of a data set.

    Attributes:
        files: paths below the data root, the first that exists is read. A path with ``*`` stands for the first match.
        url: address of the original; empty when there is none.
        sha256: digest of the file at ``url``; empty when it is not known.
        hub: ``owner/name`` of the data set on the Hugging Face hub; empty when it is not there.
        hub_config: its configuration there.
        hub_split: its split there.
    """

    files: tuple[str, ...]
    url: str = ""
    sha256: str = ""
    hub: str = ""
    hub_config: str = ""
    hub_split: str = ""

    @property
    def hub_file(self) -> str:
        """Path below the data root of what was fetched from the hub."""
        folder = source_folder(self.hub)
        return f"hub/{folder}/{self.hub_config or 'default'}/{self.hub_split or 'all'}.parquet"


def source_folder(hub: str) -> str:
    """``openai--gsm8k`` for ``openai/gsm8k``."""
    return hub.strip("/").replace("/", "--")


class DataRoot:
    """A folder of data sets, one subfolder each."""

    def __init__(self, folder: Path | str | None = None) -> None:
        """``folder``: by default that of the environment variable CODEACT_DATA, else ~/.cache/codeact/data."""
        self.folder = Path(folder or os.environ.get(VARIABLE) or DEFAULT_ROOT).expanduser()

    def find(self, source: DataSource) -> Path:
        """The file.

        Raises:
            MissingDataError: it is not there.
        """
        for name in source.files:
            found = sorted(self.folder.glob(name)) if "*" in name else [self.folder / name]
            if found and found[0].exists():
                return found[0]
        if source.hub and (path := self.folder / source.hub_file).exists():
            return path
        get = f"; get it from {source.url or source.hub} with `codeact tasks fetch`" if source.url or source.hub else ""
        raise MissingDataError(
            f"tasks.data_root={self.folder}: there is no {source.files[0]}{get}, or set {VARIABLE} to the folder of "
            "your data sets"
        )

    def text(self, source: DataSource) -> str:
        """The content of a text file, decompressed.

        Raises:
            MissingDataError: it is not there.
        """
        return read_text(self.find(source))

    def rows(self, source: DataSource) -> Iterator[Row]:
        """The rows of a data set, each a dict (:func:`rollout.families.data.rows.read_rows`).

        Raises:
            MissingDataError: it is not there.
            ValueError: a row cannot be read.
        """
        return read_rows(self.find(source))

    def members(self, source: DataSource) -> Iterator[tuple[str, bytes]]:
        """Name and content of each file of a tar archive or a folder, sorted by name.

        Raises:
            MissingDataError: it is not there.
        """
        return read_members(self.find(source))
