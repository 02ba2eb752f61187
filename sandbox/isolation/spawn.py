"""How the host starts a process of the sandbox: command, scheduling class, packages, environment, temporary files."""

from __future__ import annotations

import os
import site
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path

from sandbox.result import SandboxError

SOURCE = str(Path(__file__).parents[2])
DISTRIBUTIONS = ("codeact", "codeact-sandbox")
"""Names under which this package can be installed."""
BOOT = (
    "import sys; sys.path[:] = filter(None, sys.path); sys.dont_write_bytecode = False; "
    "import json; c = json.loads(sys.stdin.readline()); sys.path[:0] = [c.pop('source')]; "
    "from importlib import import_module as i; i('sandbox.guest.' + sys.argv[1]).main(c)"
)


def guest_command(module: str) -> list[str]:
    """The command that runs a module of :mod:`sandbox.guest`, which reads its configuration from standard input.

    It holds nothing about this machine, because every kernel can read the command line.
    """
    return [sys.executable, "-s", "-S", "-c", BOOT, module]


def leave_realtime_class(pid: int) -> None:
    """Moves a process out of an inherited real-time scheduling class, before it starts others.

    A cell in such a class could starve the machine, and Linux admits no such process to a processor cgroup.
    """
    if os.sched_getscheduler(pid) in (os.SCHED_FIFO, os.SCHED_RR):
        os.sched_setscheduler(pid, os.SCHED_OTHER, os.sched_param(0))


def site_package_folders() -> list[str]:
    """The folders of this interpreter's packages, without editable installs: a kernel must not see their source."""
    folders = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()]
    folders += [folder for folder in sys.path if Path(folder).name in ("site-packages", "dist-packages")]
    return [folder for folder in dict.fromkeys(folders) if Path(folder).is_dir()]


def own_package_folders() -> list[str]:
    """The folders of this project's packages, if it is installed among the others (not editable).

    They are hidden from kernels, because they hold how an agent's tasks are made and its answers graded.
    """
    if SOURCE not in site_package_folders():
        return []
    names: set[str] = set()
    for distribution in DISTRIBUTIONS:
        with suppress(metadata.PackageNotFoundError):
            names.update((metadata.distribution(distribution).read_text("top_level.txt") or "").split())
    names = names or {"sandbox"}
    return [str(folder) for name in sorted(names) if (folder := Path(SOURCE, name)).is_dir()]


def kernel_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of every kernel: fixed settings and ``variables``; nothing is inherited."""
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")}
    return {
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",  # `!python` and `!pip` are this one's
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "TERM": "dumb",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",  # sets iterate in the same order everywhere, so that replays come out the same
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "MPLCONFIGDIR": "/tmp",
        "IPYTHONDIR": "/tmp",
        # pyarrow would start an allocator thread in the fork server
        "JE_ARROW_MALLOC_CONF": "background_thread:false",
        **threads,
        **variables,
    }


@contextmanager
def explain_temp_errors() -> Iterator[None]:
    """Turns errors of a full or read-only disk into a :class:`SandboxError` that names the folder."""
    try:
        yield
    except OSError as error:
        folder = tempfile.gettempdir()
        raise SandboxError(f"no temporary files in {folder} ({error.strerror}); make room or set TMPDIR") from None
