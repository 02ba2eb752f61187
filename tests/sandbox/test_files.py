"""Files in and out of a workspace that hostile code has prepared."""

from pathlib import Path

import pytest

from sandbox import KernelPool

pytestmark = pytest.mark.asyncio(loop_scope="module")


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
        with pytest.raises(ValueError, match=r"'a.txt' with 8388609 bytes is larger than the workspace"):
            await kernel.put("a.txt", bytes((8 << 20) + 1))
        if isolated.tier != "T1":  # there the watch sees to the sum
            with pytest.raises(OSError, match="No space left"):
                await kernel.put("a.txt", bytes(8 << 20))
        assert (await kernel.run("open('a.txt').read(), os.listdir()")).value == "('before', ['a.txt'])"
        await kernel.put("a.txt", b"after")
        assert (await kernel.run("open('a.txt').read(), os.stat('a.txt').st_mode == mode")).value == "('after', True)"


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", ""])
async def test_a_path_that_leaves_is_refused(isolated: KernelPool, path: str) -> None:
    async with await isolated.acquire() as kernel:
        with pytest.raises((ValueError, OSError)):
            await kernel.put(path, b"x")
        with pytest.raises((ValueError, OSError)):
            await kernel.get(path)


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
