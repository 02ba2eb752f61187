"""Processes that cells start, the interpreter they get, and what libraries remember about the kernel's folder."""

import pytest

from sandbox import KernelPool

pytestmark = pytest.mark.asyncio(loop_scope="module")
ASK = """import os, sys
print(sys.executable, sys.prefix, sys.exec_prefix, sys.flags)
print([path for path in sys.path[1:] if os.path.exists(path)])"""
MODULE = b"def double(x): return 2 * x\ndef send(pipe, x): pipe.send(double(x))\n"
ONE_PROCESS = """import multiprocessing as mp, mod
def result(method):
    context = mp.get_context(method)
    here, there = context.Pipe(duplex=False)
    worker = context.Process(target=mod.send, args=(there, 21))
    worker.start(); worker.join()
    return worker.exitcode, here.poll() and here.recv()
"""
POOL = """import mod, multiprocessing as mp
from concurrent.futures import ProcessPoolExecutor
def results(method):
    context = mp.get_context(method)
    with context.Pool(2) as pool, ProcessPoolExecutor(2, mp_context=context) as executor:
        return pool.map(mod.double, range(3)), list(executor.map(mod.double, range(3)))
"""
NUMBA = b"""import inspect
class IPythonCacheLocator:
    @classmethod
    def from_function(cls, py_func, py_file):
        return inspect.getsource(py_func) if py_file.startswith('<ipython-') else None
class CacheImpl:
    _locator_classes = [IPythonCacheLocator]
    def __init__(self, function):
        found = (each.from_function(function, inspect.getfile(function)) for each in self._locator_classes)
        self.locator = next((locator for locator in found if locator), None)
class CompileResultCacheImpl(CacheImpl): pass
class CodeLibraryCacheImpl(CacheImpl): pass
"""


async def test_a_cells_programs_get_the_kernels_own_python(isolated: KernelPool) -> None:
    async with await isolated.acquire(files={"ask.py": ASK.encode()}) as kernel:
        mine = (await kernel.run(ASK)).stdout
        assert "no_site=0" in mine and "no_user_site=0" in mine
        assert (await kernel.run("!python ask.py")).stdout == mine
        child = "import subprocess\nsubprocess.run([sys.executable, 'ask.py'], check=True)"
        assert (await kernel.run(child)).stdout == mine
        assert (await kernel.run("[sys.argv[0].endswith('/ipykernel_launcher.py'), *sys.argv[1:]]")).value == "[True]"
        assert (await kernel.run("[path for path in sys.path if 'editable' in path]")).value == "[]"


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
async def test_processes_and_pools_work_or_say_why_not(isolated: KernelPool, method: str) -> None:
    async with await isolated.acquire(files={"mod.py": MODULE}) as kernel:
        one = await kernel.run(f"{ONE_PROCESS}\nresult({method!r})")
        many = await kernel.run(f"{POOL}\nresults({method!r})")
    if isolated.tier != "T1":
        assert (one.value, many.value) == ("(0, 42)", "([0, 2, 4], [0, 2, 4])")
        return
    if method == "forkserver":
        assert "isolation tier T1 opens no sockets" in (one.error_value or "")
    else:
        assert one.value == "(0, 42)"
    assert many.error_name == "PermissionError" and "isolation tier T1 has no /dev/shm" in (many.error_value or "")


async def test_a_function_of_a_cell_cannot_be_spawned_as_in_jupyter(isolated: KernelPool) -> None:
    async with await isolated.acquire() as kernel:
        code = "import multiprocessing as mp\ndef local(): pass\n"
        code += "worker = mp.get_context('spawn').Process(target=local); worker.start(); worker.join(); worker.exitcode"
        result = await kernel.run(code)
    assert result.value == "1" and "AttributeError: Can't get attribute 'local' on <module '__main__'" in result.stderr


async def test_folders_are_those_of_the_kernel(isolated: KernelPool) -> None:
    async with await isolated.acquire() as kernel:
        await kernel.run("import os, tempfile\nhome = os.getcwd()\n%mkdir sub\n%cd -q sub\n%cd -q -")
        assert (await kernel.run("os.getcwd() == home == os.path.expanduser('~')")).value == "True"
        assert (await kernel.run("%cd -q sub\n%cd -q\nos.getcwd() == home")).value == "True"
        assert (await kernel.run("with tempfile.TemporaryDirectory() as folder: pass\nfolder")).status == "ok"
        async with await kernel.fork() as branch:
            code = "%cd -q sub\n%cd -q -\nwhere = os.getcwd()\nwhere != home, where == os.path.expanduser('~')"
            assert (await branch.run(code)).value == "(True, True)"
            inside = await branch.run("tempfile.gettempdir() in ('/tmp', where)")
            assert inside.value == "True"


async def test_scripts_run_in_a_branch_although_the_parent_has_run_one(isolated: KernelPool) -> None:
    async with await isolated.acquire() as kernel:
        assert (await kernel.run("%%bash\necho one")).stdout == "one\n"
        async with await kernel.fork() as branch:
            assert (await branch.run("%%bash\necho two")).stdout == "two\n"


async def test_functions_of_cells_have_sources_and_a_place_in_numbas_cache(isolated: KernelPool) -> None:
    files = {"numba/__init__.py": b"", "numba/core/__init__.py": b"", "numba/core/caching.py": NUMBA}
    async with await isolated.acquire(files=files) as kernel:
        await kernel.run("import inspect, linecache\nfrom numba.core.caching import *\ndef f(x):\n    return x + 1")
        assert (await kernel.run("inspect.getsource(f), linecache.getline(inspect.getfile(f), 3)")).value == (
            "('def f(x):\\n    return x + 1\\n', 'def f(x):\\n')"
        )
        found = "[kind(f).locator for kind in (CacheImpl, CompileResultCacheImpl, CodeLibraryCacheImpl)]"
        assert (await kernel.run(f"set({found}) == {{inspect.getsource(f)}}")).value == "True"


async def test_faulthandler_writes_to_standard_error(isolated: KernelPool) -> None:
    async with await isolated.acquire() as kernel:
        result = await kernel.run("import faulthandler\nfaulthandler.enable()\nfaulthandler.dump_traceback()")
        assert 'File "<cell 1>", line 3' in result.stderr
