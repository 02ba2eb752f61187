"""Adapts modules of libraries to kernels, when a cell or the fork server imports them.

Contract: :func:`install` runs once, in the fork server. numba's ``cache=True`` works for functions of cells, whose file
names it does not know. Where no namespace separates kernels (T1), ``multiprocessing`` says what it cannot have there
and why. Costs one dictionary lookup per import of any module.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

PROMPT_LOCATORS = ("IPythonCacheLocator", "_IPythonCacheLocator")
"""The class of numba that finds the cache of a function of IPython's prompt, in new and older versions."""
CELL_NAMES = "<cell "
"""How the file names of cells begin."""
NO_SEMAPHORES = (
    "isolation tier T1 has no /dev/shm of its own, so multiprocessing's locks, queues and pools (also joblib's and "
    "ProcessPoolExecutor's) do not work; use threads or multiprocessing.Process with a Pipe, or a machine with T2 or T3"
)
NO_SOCKETS = (
    "isolation tier T1 opens no sockets, so multiprocessing's forkserver does not work; use the start method 'spawn' "
    "or 'fork', or a machine with T2 or T3"
)


def install(shared: bool) -> None:
    """Prepares the modules that are imported now or later; ``shared``: no namespace separates kernels."""
    adapters = {"numba.core.caching": _cache_cells, **(_SHARED if shared else {})}
    for name, adapt in adapters.items():
        if name in sys.modules:
            adapt(sys.modules[name])
    sys.meta_path.insert(0, _Finder(adapters))


class _Finder:
    """Finds the modules to adapt with the other finders, and calls their adapters after the import."""

    def __init__(self, adapters: dict[str, Callable[[Any], None]]) -> None:
        self._adapters = adapters

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """None for every module but those to adapt."""
        adapt = self._adapters.get(name)
        if adapt is None:
            return None
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target) if finder is not self else None
            if spec is not None and spec.loader is not None:
                loader: Any = spec.loader
                loader.exec_module = partial(_execute_and_adapt, loader.exec_module, adapt)
                return spec
        return None


def _execute_and_adapt(execute: Callable[[ModuleType], None], adapt: Callable[[Any], None], module: ModuleType) -> None:
    execute(module)
    adapt(module)


def _cache_cells(caching: Any) -> None:
    """Lets numba store compiled functions of cells where it stores those of IPython's prompt."""
    locator: Any = next((getattr(caching, name) for name in PROMPT_LOCATORS if hasattr(caching, name)), None)
    if locator is None:  # a version that is not known here
        return

    class CellLocator(locator):
        @classmethod
        def from_function(cls, py_func: Any, py_file: str) -> Any:
            known = f"<ipython-{py_file[1:]}" if py_file.startswith(CELL_NAMES) else py_file
            return super().from_function(py_func, known)

    for kind in (caching.CompileResultCacheImpl, caching.CodeLibraryCacheImpl, caching.CacheImpl):
        if "_locator_classes" in vars(kind):
            kind._locator_classes = [*kind._locator_classes, CellLocator]


def _explain_semaphores(module: Any) -> None:
    class SemLock(module.SemLock):
        def __new__(cls, *arguments: Any, **options: Any) -> Any:
            try:
                return super().__new__(cls, *arguments, **options)
            except OSError:
                raise PermissionError(errno.EACCES, NO_SEMAPHORES) from None

    SemLock.__qualname__ = "SemLock"
    module.SemLock = SemLock


def _explain_forkserver(module: Any) -> None:
    ensure_running = module.ForkServer.ensure_running

    def explained(self: Any) -> None:
        try:
            ensure_running(self)
        except OSError as error:
            if error.errno != errno.EAFNOSUPPORT:
                raise
            raise OSError(errno.EAFNOSUPPORT, NO_SOCKETS) from None

    module.ForkServer.ensure_running = explained
    module.ensure_running = module._forkserver.ensure_running


_SHARED: dict[str, Callable[[Any], None]] = {
    "_multiprocessing": _explain_semaphores,
    "multiprocessing.forkserver": _explain_forkserver,
}
