"""Sentences for failures that a person can mend: of a disk, of rights, of a package, of memory, of a cut file.

Contract: :func:`sentence` is called where a process would otherwise end with a traceback. It returns one line with the
file, the reason and a fix, or ``None`` for a failure that is a bug. :func:`named` adds the file to an error that the
operating system reports without one, as it does for a failed write. Standard library only, so that every package and
the command can use it. It does not decide exit codes.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class FailedEverywhere(Exception):
    """A failure that a person can mend and that every process of a job raises; only one of them prints it."""


OURS = ("codeact_train", "configs", "eval", "launch", "rollout", "sandbox")
"""Packages of this project: a module of them that is missing is a bug."""

FULL = (errno.ENOSPC, errno.EDQUOT)
_AGAIN = "then run the same command again"
_REASONS = {
    errno.ENOSPC: ("the disk is full", f"free some space, {_AGAIN}"),
    errno.EDQUOT: ("your quota of disk space is used up", f"free some space, {_AGAIN}"),
    errno.EFBIG: ("the file is larger than this process may write", f"raise the limit with `ulimit -f`, {_AGAIN}"),
    errno.EACCES: ("no permission", "change the rights of the file or its folder, or give another path"),
    errno.EPERM: ("not permitted", "change the owner or the rights of the file, or give another path"),
    errno.EROFS: ("the file system is read-only", "give a path on a disk that can be written"),
    errno.ENOENT: ("no such file or folder", "check the path"),
    errno.EEXIST: ("a file has the name of a folder that is needed here", "move it, or give another path"),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", "give another path"),
    errno.EISDIR: ("it is a folder, a file is needed", "give the path of a file"),
    errno.ENAMETOOLONG: ("the name is too long", "give a shorter path"),
    errno.ELOOP: ("its links lead in a circle", "give another path"),
    errno.EMFILE: ("this process has too many open files", f"raise the limit with `ulimit -n`, {_AGAIN}"),
    errno.ENFILE: ("this machine has too many open files", f"end other programs, {_AGAIN}"),
    errno.EIO: ("the disk reports an error", f"check the disk, {_AGAIN}"),
    errno.ESTALE: ("the network file system no longer has it", f"mount it again, {_AGAIN}"),
    errno.ENOMEM: ("there is not enough memory", f"end other programs, {_AGAIN}"),
}
_TORCH_CANNOT_WRITE = ("PytorchStreamWriter failed", "inline_container.cc")
_DISTRIBUTIONS = {
    "flash_attn": "flash-attn",
    "mlflow": "mlflow-skinny",
    "openvino_genai": "openvino-genai",
    "transformer_engine": "transformer-engine",
    "yaml": "pyyaml",
}
"""Names on the package index that differ from the name in an ``import``."""


def sentence(error: BaseException) -> str | None:
    """One sentence for a failure that a person can mend; ``None`` for any other."""
    if isinstance(error, OSError):
        return _of_the_system(error)
    if _hides_the_system(error):
        return f"a file cannot be written ({_one_line(error)}); free some space on its disk, {_AGAIN}"
    if isinstance(error, ImportError):
        return _of_an_import(error)
    if isinstance(error, MemoryError):
        return f"out of memory; end other programs, {_AGAIN}, or use a machine with more"
    if type(error).__name__ == "OutOfMemoryError":  # torch's, which need not be imported here
        return f"out of memory: {next(iter(str(error).splitlines()), '')}; `codeact train --plan` shows what fits a GPU"
    return None


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Gives ``path`` to an ``OSError`` of the block that names no file."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def read_json_object(path: Path, fix: str, *keys: str) -> dict[str, Any]:
    """The JSON object in a file, which must have ``keys``.

    Raises:
        ValueError: the file is cut off, empty or not what it should be; the sentence names it and ends with ``fix``.
        OSError: it cannot be read.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # UnicodeDecodeError too
        raise ValueError(f"{path}: it is cut off or not JSON ({error}); {fix}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: it holds no JSON object; {fix}")
    if missing := [key for key in keys if key not in content]:
        raise ValueError(f"{path}: it has no key {missing[0]!r}; {fix}")
    return content


def _hides_the_system(error: BaseException) -> bool:
    """Whether it is torch's error for a file that could not be written, which does not give the reason."""
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _TORCH_CANNOT_WRITE)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _of_the_system(error: OSError) -> str | None:
    if error.errno not in _REASONS:
        return None
    reason, fix = _REASONS[error.errno]
    if error.errno in FULL and error.filename is not None:
        reason += _free(Path(os.fsdecode(error.filename)))
    where = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
    return f"{where}{reason}; {fix}"


def _free(path: Path) -> str:
    """What is left on the disk of ``path``, which need not exist."""
    try:
        folder = next(parent for parent in (path, *path.absolute().parents) if parent.is_dir())
        return f" ({shutil.disk_usage(folder).free // 2**20} MiB are free)"
    except (OSError, StopIteration):
        return ""


def _of_an_import(error: ImportError) -> str | None:
    package = (error.name or "").partition(".")[0]
    if package in ("", *OURS):
        return None
    distribution = _DISTRIBUTIONS.get(package, package)
    if isinstance(error, ModuleNotFoundError):
        return f"{error.name} is not installed; pip install {distribution}"
    return f"{package} cannot be imported ({_one_line(error)}); pip install --force-reinstall {distribution}"
