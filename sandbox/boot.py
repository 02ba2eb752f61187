"""How a process of the sandbox is started: the command, the packages it sees, its environment, its temporary files."""

from __future__ import annotations

import site
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sandbox.result import SandboxError

SOURCE = str(Path(__file__).parents[1])
BOOT = (
    "import sys; sys.path[:] = filter(None, sys.path); sys.dont_write_bytecode = False; "
    "import json; c = json.loads(sys.stdin.readline()); sys.path[:0] = [c.pop('source')]; "
    "from importlib import import_module as i; i('sandbox.inside.' + sys.argv[1]).main(c)"
)


def boot_command(module: str) -> list[str]:
    """Executes a module of :mod:`sandbox.inside` that reads its configuration from standard input.

    The command line says nothing about this machine: every kernel can read it.
    """
    return [sys.executable, "-s", "-S", "-c", BOOT, module]


def site_folders() -> list[str]:
    """Where this interpreter's packages lie. Editable installs are left out: a kernel must not see their source."""
    folders = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()]
    folders += [folder for folder in sys.path if Path(folder).name in ("site-packages", "dist-packages")]
    return [folder for folder in dict.fromkeys(folders) if Path(folder).is_dir()]


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
