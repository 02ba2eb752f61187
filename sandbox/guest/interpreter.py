"""Makes a kernel's process look like the Python that a person would start in its folder.

Contract: :func:`present` runs once in the fork server. Afterwards ``sys.flags``, ``sys.prefix`` and ``sys.argv`` are
those of the owner's interpreter running a notebook, so that processes a cell starts (``multiprocessing``, joblib,
``subprocess`` with ``sys.executable``) find the same packages. The fork server itself was started without ``site``,
which would read the paths of editable installs. :func:`enter_folder` runs in each kernel and :func:`move_folder` in
each branch; they correct what libraries remember about folders. They cost microseconds.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

PROGRAM = "ipykernel_launcher.py"
"""What ``sys.argv[0]`` of a notebook ends with; libraries look for it."""
OWN_FLAGS = ("no_site", "no_user_site")
"""Flags of the fork server that a person's Python does not have."""


def present(prefix: str, packages: list[str]) -> None:
    """Sets flags, prefix and arguments. ``prefix``: that of the owner's interpreter, a virtual environment's or not.

    Must run before ``site`` and ``sysconfig`` are imported, because they remember the prefix.
    """
    sys.prefix = sys.exec_prefix = prefix
    importlib.import_module("site")  # while the flag keeps it from reading the paths of editable installs
    sys.argv = [f"{packages[0]}/{PROGRAM}" if packages else PROGRAM]
    sys.orig_argv = [sys.executable, *sys.argv]
    names = type(sys.flags).__match_args__
    zero = ctypes.py_object(0)
    for name in OWN_FLAGS:  # Python offers no other way to change them, and starts its children with them
        ctypes.pythonapi.Py_IncRef(zero)
        ctypes.pythonapi.PyStructSequence_SetItem(
            ctypes.py_object(sys.flags), ctypes.c_ssize_t(names.index(name)), zero
        )


def enter_folder(shell: Any) -> None:
    """Corrects what was remembered in the fork server's folder. ``shell``: IPython's shell, if there is one yet."""
    home = os.environ["HOME"]
    tempfile.tempdir = None
    _set_start_folder(home)
    if shell is not None:
        shell.home_dir = home
        shell.history_manager.dir_hist[:] = [Path(home)]


def move_folder(shell: Any, old: str, new: str) -> None:
    """Corrects what was remembered in the folder ``old`` of a kernel, in a branch whose folder is ``new``."""
    for name in ("HOME", "PWD", "TMPDIR", "MPLCONFIGDIR", "IPYTHONDIR"):
        if name in os.environ:
            os.environ[name] = moved(os.environ[name], old, new)
    if tempfile.tempdir is not None:
        tempfile.tempdir = moved(tempfile.tempdir, old, new)
    _set_start_folder(new)
    shell.home_dir = new
    shell.db = None  # opened again at its new place when it is used
    folders = shell.history_manager.dir_hist
    folders[:] = [Path(moved(str(folder), old, new)) for folder in folders]


def moved(path: str, old: str, new: str) -> str:
    """``path``, or if it is ``old`` or below it the same place below ``new``."""
    return new + path.removeprefix(old) if path == old or path.startswith(f"{old}/") else path


def _set_start_folder(folder: str) -> None:
    """Sets where ``multiprocessing`` looks for the modules of the main program."""
    process: Any = sys.modules.get("multiprocessing.process")
    if process is not None:
        process.ORIGINAL_DIR = folder
