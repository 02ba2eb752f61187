"""How a process of the sandbox is started: command, scheduling, the packages it sees, environment, temporary files."""

from __future__ import annotations

import os
import site
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from sandbox.result import SandboxError

SOURCE = str(Path(__file__).parents[2])
DISTRIBUTION = "codeact"
BOOT = (
    "import sys; sys.path[:] = filter(None, sys.path); sys.dont_write_bytecode = False; "
    "import json; c = json.loads(sys.stdin.readline()); sys.path[:0] = [c.pop('source')]; "
    "from importlib import import_module as i; i('sandbox.guest.' + sys.argv[1]).main(c)"
)


def boot_command(module: str) -> list[str]:
    """Executes a module of :mod:`sandbox.guest` that reads its configuration from standard input.

    The command line says nothing about this machine: every kernel can read it.
    """
    return [sys.executable, "-s", "-S", "-c", BOOT, module]


def leave_real_time(pid: int) -> None:
    """Takes a process out of a real-time class it was born into, before it starts others.

    A cell in such a class could keep everything else from running, and Linux lets none into a processor cgroup.
    """
    if os.sched_getscheduler(pid) in (os.SCHED_FIFO, os.SCHED_RR):
        os.sched_setscheduler(pid, os.SCHED_OTHER, os.sched_param(0))


def site_folders() -> list[str]:
    """Where this interpreter's packages lie. Editable installs are left out: a kernel must not see their source."""
    folders = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()]
    folders += [folder for folder in sys.path if Path(folder).name in ("site-packages", "dist-packages")]
    return [folder for folder in dict.fromkeys(folders) if Path(folder).is_dir()]


def own_folders() -> list[str]:
    """Our own packages where they lie among the others, as an installation leaves them that is not editable.

    They hold what an agent must not read: how its tasks are made and answers judged.
    """
    if SOURCE not in site_folders():
        return []
    try:
        names = (metadata.distribution(DISTRIBUTION).read_text("top_level.txt") or "").split()
    except metadata.PackageNotFoundError:
        names = [__package__]
    return [str(folder) for name in names if (folder := Path(SOURCE, name)).is_dir()]


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of every kernel: ``variables`` and nothing of the owner's."""
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")}
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "TERM": "dumb",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",  # sets have one order everywhere: what is replayed elsewhere comes out the same
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "MPLCONFIGDIR": "/tmp",
        "IPYTHONDIR": "/tmp",
        # pyarrow would start an allocator thread in the fork server
        "JE_ARROW_MALLOC_CONF": "background_thread:false",
        **threads,
        **variables,
    }


@contextmanager
def temporary_files() -> Iterator[None]:
    """Turns a disk that is full or may not be written into a :class:`SandboxError` that names the folder."""
    try:
        yield
    except OSError as error:
        folder = tempfile.gettempdir()
        raise SandboxError(f"no temporary files in {folder} ({error.strerror}); make room or set TMPDIR") from None
