"""Where the files of data sets are.

Contract: a :class:`DataSource` names one file of a data set: the paths it may have below a data root, where it can be
downloaded, and its name on the Hugging Face hub. :class:`DataRoot` finds it. Nothing is downloaded while tasks are
loaded; a file that is missing is a :class:`MissingDataError` that says how to get it. Files may be compressed
(``.gz``, ``.xz``).
"""

from __future__ import annotations

import gzip
import lzma
import os
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "CODEACT_DATA"
DEFAULT_ROOT = Path("~/.cache/codeact/data")


class MissingDataError(ValueError):
    """A data set is not on this machine."""


@dataclass(frozen=True)
class DataSource:
    """One file of a data set.

    Attributes:
        files: paths below the data root, the first that exists is read.
        url: address of the original; empty when there is none.
        sha256: digest of the file at ``url``; empty when it is not known.
        hub: ``owner/name`` of the data set on the Hugging Face hub; empty when it is not there.
    """

    files: tuple[str, ...]
    url: str = ""
    sha256: str = ""
    hub: str = ""


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
            if (path := self.folder / name).exists():
                return path
        get = f"; get it from {source.url or source.hub}" if source.url or source.hub else ""
        raise MissingDataError(
            f"tasks.data_root={self.folder}: there is no {source.files[0]}{get}, or set {VARIABLE} to the folder of "
            "your data sets"
        )

    def text(self, source: DataSource) -> str:
        """The content of a text file, decompressed.

        Raises:
            MissingDataError: it is not there.
        """
        path = self.find(source)
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
        elif path.suffix == ".xz":
            data = lzma.decompress(data)
        return data.decode("utf-8")
