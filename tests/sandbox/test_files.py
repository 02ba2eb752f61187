"""Reading and writing files of a workspace that hostile code has prepared."""

import asyncio
import os
import re
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from sandbox import KernelPool, probe
from sandbox.workspace.files import get_file, put_file

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Late:
    """Work of a thread that has begun and waits until it is released."""

    def __init__(self, work: Callable[..., Any]) -> None:
        self._work, self._begun, self.go = work, threading.Event(), threading.Event()

    def __call__(self, *args: Any) -> Any:
        self._begun.set()
        self.go.wait()
        return self._work(*args)

    async def begun(self) -> None:
        await asyncio.to_thread(self._begun.wait)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cold() -> AsyncIterator[KernelPool]:
    """A pool without warm kernels, so that descriptors can be counted and their numbers are reused at once."""
    async with KernelPool(size=0, preload=(), tier=probe().tier) as running:
        yield running


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_files_go_in_and_out(isolated: KernelPool) -> None:
    async with await isolated.acquire(files={"a/b/c.bin": bytes(range(256))}) as kernel:
        await kernel.put("new.txt", b"from the host")
        copied = "data = open('a/b/c.bin', 'rb').read()\nopen('copy.bin', 'wb').write(data)\nopen('new.txt').read()"
        assert (await kernel.run(copied)).value == "'from the host'"
        assert await kernel.get("copy.bin") == bytes(range(256))
        assert (await kernel.run("open('new.txt', 'a').write('!')")).status == "ok"  # it is the kernel's own
        await kernel.run("open('large', 'wb').write(bytes(5000))")
        with pytest.raises(ValueError, match="larger than 4000"):
            await kernel.get("large", limit_bytes=4000)
        with pytest.raises(FileNotFoundError):
            await kernel.get("missing")


async def test_a_file_is_put_whole_or_not_at_all(isolated: KernelPool) -> None:
    async with await isolated.acquire(files={"a.txt": b"before"}) as kernel:
        await kernel.run("import os\nos.chmod('a.txt', 0o640); mode = os.stat('a.txt').st_mode")
        with pytest.raises(ValueError, match=r"'a.txt' has 8388609 bytes, more than the workspace"):
            await kernel.put("a.txt", bytes((8 << 20) + 1))
        if isolated.tier != "T1":  # there the watch sees to the sum
            with pytest.raises(OSError, match="No space left"):
                await kernel.put("a.txt", bytes(8 << 20))
        assert (await kernel.run("open('a.txt').read(), os.listdir()")).value == "('before', ['a.txt'])"
        await kernel.put("a.txt", b"after")
        assert (await kernel.run("open('a.txt').read(), os.stat('a.txt').st_mode == mode")).value == "('after', True)"


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "", ".", "a.txt\0", "a.txt\0/../../etc/passwd"])
async def test_a_path_that_leaves_is_refused(isolated: KernelPool, path: str) -> None:
    sentence = re.escape(f"files: {path!r} is not a path inside the workspace")
    async with await isolated.acquire(files={"a.txt": b"kept"}) as kernel:
        with pytest.raises(ValueError, match=sentence):
            await kernel.put(path, b"x")
        with pytest.raises(ValueError, match=sentence):
            await kernel.get(path)
        assert await kernel.get("a.txt") == b"kept"


async def test_what_is_no_file_or_lies_behind_none_is_named(isolated: KernelPool) -> None:
    async with await isolated.acquire(files={"a/b.txt": b""}) as kernel:
        await kernel.run("import os; os.symlink('a', 'link')")
        with pytest.raises(ValueError, match="'a' is not a regular file"):
            await kernel.get("a")
        with pytest.raises(ValueError, match=r"'link/b\.txt' is or leads over a link"):
            await kernel.get("link/b.txt")
        for path in ("a/b.txt/c", "a/b.txt/c/d", "link/new"):
            with pytest.raises(ValueError, match=f"'{path}' leads over a link or a file"):
                await kernel.put(path, b"")


async def test_links_pipes_and_magic_are_not_followed(isolated: KernelPool, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret")
    async with await isolated.acquire() as kernel:
        code = "import os\nos.mkfifo('pipe'); os.mkdir('folder')\n"
        links = {"link": secret, "up": tmp_path, "root": "/", "self": "/proc/self/root"}
        code += "".join(f"os.symlink({str(target)!r}, {name!r})\n" for name, target in links.items())
        assert (await kernel.run(code)).status == "ok"
        for path in ("link", "up/secret", f"root{secret}", f"self{secret}", "pipe", "folder"):
            with pytest.raises((ValueError, OSError)):
                await kernel.get(path)
        for path in ("link", "up/secret", "up/new", f"root{secret}", "pipe", "folder"):
            with pytest.raises((ValueError, OSError)):
                await kernel.put(path, b"changed")
    assert secret.read_text() == "s3cret" and not (tmp_path / "new").exists()


@pytest.mark.parametrize("path", ["folder", "pipe"])
async def test_what_is_no_file_is_named_and_stays_closed(cold: KernelPool, path: str) -> None:
    async with await cold.acquire() as kernel:
        await kernel.run("import os\nos.mkdir('folder'); os.mkfifo('pipe')")
        before = descriptors()
        for _ in range(3):
            with pytest.raises(ValueError, match=f"files: '{path}' is not a regular file"):
                await kernel.get(path)
        assert descriptors() == before


async def test_a_file_in_transfer_at_a_close_never_reaches_another_kernel(
    cold: KernelPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandbox.kernel.put_file", late_put := Late(put_file))
    monkeypatch.setattr("sandbox.kernel.get_file", late_get := Late(get_file))
    for late, way in ((late_put, "put"), (late_get, "get")):
        kernel = await cold.acquire()
        files = asyncio.ensure_future(kernel.put("mine", b"1") if way == "put" else kernel.get("theirs"))
        await late.begun()
        await kernel.close()
        others = [await cold.acquire() for _ in range(4)]  # one of them has the number of its workspace
        for other in others:
            await other.run("open('theirs', 'w').close()")
        late.go.set()
        (outcome,) = await asyncio.gather(files, return_exceptions=True)
        assert outcome is None or isinstance(outcome, OSError)
        for other in others:
            assert (await other.run("import os; os.listdir()")).value == "['theirs']"
            await other.close()


async def test_a_caller_who_gives_up_over_a_file_leaves_no_descriptor(cold: KernelPool) -> None:
    go = threading.Event()
    async with await cold.acquire() as kernel:
        await kernel.put("a", b"1")
        before = descriptors()
        busy = [asyncio.ensure_future(asyncio.to_thread(go.wait)) for _ in range(3 * (os.cpu_count() or 1) + 40)]
        waiting = asyncio.ensure_future(kernel.get("a"))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        go.set()
        await asyncio.gather(*busy)
        assert await kernel.get("a") == b"1"
        assert descriptors() <= before


async def test_the_files_of_a_closed_kernel_go_while_others_are_served(
    cold: KernelPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: dict[int, int] = {}
    close = os.close

    def noted(fd: int) -> None:
        closed[os.fstat(fd).st_ino] = threading.get_ident()
        close(fd)

    async with await cold.acquire() as kernel:
        assert kernel.process is not None
        workspace = os.fstat(kernel.process.workspace).st_ino
        monkeypatch.setattr(os, "close", noted)
    assert closed[workspace] != threading.get_ident()
