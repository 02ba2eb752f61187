"""The data files that ship with the distribution: the package ``configs``.

Contract: found by importlib.resources, so the folder is the same in a checkout, an editable install and a wheel.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def data_folder(name: str) -> Path:
    """The folder ``configs/<name>``."""
    return Path(str(files("configs").joinpath(name)))
