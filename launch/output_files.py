"""Files that a person names for the output of a command are not replaced unless that is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ReplaceOption = Annotated[bool, typer.Option("--replace", help="Write over a file that exists.")]


def check_new(out: Path, replace: bool, *beside: Path, option: str = "--out") -> None:
    """Raises ``ValueError`` when ``out``, or a file written beside it, exists and ``replace`` is false."""
    for path in (out, *beside):
        if path.is_dir() or (path.exists() and not replace):
            raise ValueError(f"{option} {out}: {path} exists; give another name, or --replace to write it again")
