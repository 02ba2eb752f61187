"""Policies: folders, GPUs and processor time, as every tier of this machine gives or refuses them."""

import os
import shutil
import stat
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from sandbox import KernelPool, Limits, Policy, SandboxError, probe
from sandbox.isolation.policy import resolve_policy

pytestmark = pytest.mark.asyncio(loop_scope="module")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="device nodes and mounts take root")


@pytest.mark.parametrize(
    ("policy", "sentence"),
    [
        ({"read_only": {"data": "/data"}}, "read_only: 'data' is not a plain absolute path"),
        ({"read_only": {"/a/../b": "/data"}}, "read_only: '/a/../b' is not a plain absolute path"),
        ({"read_only": {"/data": "data"}}, "read_only: 'data', the folder for '/data', must be an absolute path"),
        ({"read_write": {"/home/agent": "/data"}}, "read_write: '/home/agent' would hide /home/agent"),
        ({"read_write": {"/home": "/data"}}, "read_write: '/home' would hide /home/agent"),
        ({"read_write": {"/usr/share": "/data"}}, "read_write: '/usr/share' would hide /usr"),
        ({"read_write": {"/tmp": "/data"}}, "read_write: '/tmp' would hide /tmp"),
        ({"read_only": {"/": "/data"}}, "read_only: '/' would hide"),
        ({"read_only": {"/a": "/data"}, "read_write": {"/a/b": "/data"}}, "read_write: '/a/b' and '/a' are nested"),
        ({"gpus": (0, 0)}, r"gpus: \(0, 0\) must be distinct numbers"),
        ({"gpus": (-1,)}, r"gpus: \(-1,\) must be distinct numbers"),
        ({"network": ("https://example.org",)}, "network: 'https://example.org' is not a host"),
        ({"folders": {}}, "Extra inputs are not permitted"),
    ],
)
async def test_a_bad_value_is_named(policy: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Policy(**policy)


async def test_a_policy_beyond_the_machine_or_the_tier_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=r"read_only: '.*/gone', the folder for '/data', does not exist; create"):
        resolve_policy(Policy(read_only={"/data": f"{tmp_path}/gone"}), "T3")
    with pytest.raises(ValueError, match="contains the sandbox's own folders"):
        resolve_policy(Policy(read_only={"/data": "/"}), "T3")
    with pytest.raises(SandboxError, match="tier T0 enforces nothing"):
        resolve_policy(Policy(read_only={"/data": str(tmp_path)}), "T0")
    with pytest.raises(SandboxError, match="in tier T1 no socket can be opened"):
        resolve_policy(Policy(network=("example.org",)), "T1")
    with pytest.raises(SandboxError, match=f"use '{tmp_path}' instead of '/data', or tier T2 or T3"):
        resolve_policy(Policy(read_only={"/data": str(tmp_path)}), "T1")
    monkeypatch.setattr("sandbox.isolation.policy.DEVICES", tmp_path)
    with pytest.raises(SandboxError, match=r"gpus: .*/nvidia7 does not exist; the GPUs of this machine: none"):
        resolve_policy(Policy(gpus=(7,)), "T3")


async def test_a_machine_without_room_for_temporary_files_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = KernelPool(size=0, preload=(), tier=probe().tier)
    monkeypatch.setattr("tempfile.tempdir", f"{tmp_path}/gone")
    with pytest.raises(
        SandboxError, match=r"(?s)the fork server could not start: .*No such file or directory: '.*/gone/"
    ):
        await pool.start()
    probe.cache_clear()
    with pytest.raises(SandboxError, match=r"no temporary files in .*/gone \(No such file or directory\); make room"):
        probe()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path, Path]]:
    """One to read, one to write, and a secret beside them."""
    base = tmp_path_factory.mktemp("policy")
    read, write, secret = base / "read", base / "write", base / "secret"
    for folder in (read, write):
        folder.mkdir()
        folder.chmod(0o700)
    (read / "below").mkdir()
    (read / "below" / "private.txt").write_text("for the owner")
    (read / "below" / "private.txt").chmod(0o600)
    secret.write_text("s3cret")
    (write / "link").symlink_to(secret)
    (read / "mounted").mkdir()
    mounted = os.geteuid() == 0 and shutil.which("mount") is not None
    if mounted:
        subprocess.run(["mount", "-t", "tmpfs", "none", str(read / "mounted")], check=True)
    yield read, write, secret
    if mounted:
        subprocess.run(["umount", str(read / "mounted")], check=True)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["T3", "T2", "T1"])
async def sharing(request: pytest.FixtureRequest, folders: tuple[Path, Path, Path]) -> AsyncIterator[KernelPool]:
    if request.param not in probe().properties:
        pytest.skip(f"tier {request.param} is not available here: {probe().missing}")
    read, write, _ = folders
    inside = str(write) if request.param == "T1" else "/data/out"  # the other one keeps its path, below /tmp
    policy = Policy(read_only={str(read): str(read)}, read_write={inside: str(write)})
    async with KernelPool(size=0, preload=(), tier=request.param, policy=policy) as pool:
        yield pool


async def test_a_read_only_folder_is_read_and_not_written(
    sharing: KernelPool, folders: tuple[Path, Path, Path]
) -> None:
    before = (folders[0] / "below").stat()
    async with await sharing.acquire() as kernel:
        read = await kernel.run(f"import os\nos.chdir({str(folders[0])!r})\nopen('below/private.txt').read()")
        assert read.value == "'for the owner'", read
        await kernel.run("os.chmod('below', 0o777)\nos.utime('below', (1, 1))")
        for attempt in (
            "open('new', 'w')",
            "open('below/private.txt', 'a')",
            "open('mounted/new', 'w')",
            "os.unlink('below/private.txt')",
            "os.mkdir('below/new')",
            "os.rename('below', 'above')",
        ):
            result = await kernel.run(attempt)
            assert result.error_name in ("OSError", "PermissionError"), (attempt, result)
    assert sorted(path.name for path in folders[0].iterdir()) == ["below", "mounted"]
    after = (folders[0] / "below").stat()
    assert (after.st_mode, after.st_mtime) == (before.st_mode, before.st_mtime)


async def test_what_is_written_to_a_read_write_folder_is_the_owners(
    sharing: KernelPool, folders: tuple[Path, Path, Path]
) -> None:
    _, write, secret = folders
    (inside,) = sharing.policy.read_write
    name = f"{sharing.tier}.txt"
    async with await sharing.acquire() as kernel, await sharing.acquire() as sibling:
        written = await kernel.run(f"import os\nos.chdir({inside!r})\nopen({name!r}, 'w').write('from inside')")
        assert written.value == "11", written
        assert (await sibling.run(f"open('{inside}/{name}').read()")).value == "'from inside'"
        for attempt in (f"os.chmod({name!r}, 0o4755)", "os.close(os.open('suid', os.O_CREAT | os.O_WRONLY, 0o6755))"):
            await kernel.run(attempt)
        assert (await kernel.run("open('link').read()")).status == "error"
        assert (await kernel.run(f"os.chmod({name!r}, 0o644)\nos.mkdir('sub_{name}')")).status == "ok"
    assert (write / name).read_text() == "from inside"
    for path in write.iterdir():
        found = path.lstat()
        assert not found.st_mode & (stat.S_ISUID | stat.S_ISGID) and found.st_uid == os.geteuid(), path
    assert secret.read_text() == "s3cret"


async def test_a_place_that_is_taken_is_named(folders: tuple[Path, Path, Path]) -> None:
    tier = next((tier for tier in ("T3", "T2") if tier in probe().properties), None)
    if tier is None:
        pytest.skip("only a tier with its own root can move a folder")
    taken = str(Path(os.__file__).parent)
    if taken.startswith("/usr"):
        pytest.skip("the interpreter is the system's, whose folders are refused earlier")
    pool = KernelPool(size=0, preload=(), tier=tier, policy=Policy(read_only={taken: str(folders[0])}))
    with pytest.raises(SandboxError, match=f"read_only: '{taken}' cannot be put there"):
        await pool.start()


@needs_root
@pytest.mark.parametrize("tier", ["T3", "T2"])
async def test_only_the_gpus_asked_for_are_there(tier: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if tier not in probe().properties:
        pytest.skip(f"tier {tier} is not available here: {probe().missing}")
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):  # nodes of the null device
        os.mknod(tmp_path / name, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        (tmp_path / name).chmod(0o666)
    monkeypatch.setattr("sandbox.isolation.policy.DEVICES", tmp_path)
    use = "import os, fcntl, glob\nfd = os.open('/dev/nvidia1', os.O_RDWR)\nos.write(fd, b'x')\n"
    use += "try: fcntl.ioctl(fd, 0x4600)\nexcept OSError as error: print(error.errno)\n"
    use += "sorted(glob.glob('/dev/nvidia*')), os.environ['CUDA_VISIBLE_DEVICES']"
    async with KernelPool(size=0, preload=(), tier=tier, policy=Policy(gpus=(1,))) as pool:
        async with await pool.acquire() as kernel:
            result = await kernel.run(use)
    assert result.value == "(['/dev/nvidia-uvm', '/dev/nvidia1', '/dev/nvidiactl'], '0')", result
    assert result.stdout == "25\n"  # ENOTTY from the device; Landlock would have said EACCES


async def test_without_a_policy_no_gpu_is_in_sight(isolated: KernelPool) -> None:
    look = "import glob, os\nglob.glob('/dev/nvidia*'), os.environ['CUDA_VISIBLE_DEVICES'], 'http_proxy' in os.environ"
    async with await isolated.acquire() as kernel:
        seen = (await kernel.run(look)).value
        if isolated.tier != "T1":
            assert seen == "([], '', False)"
            return
        opened = "for node in glob.glob('/dev/nvidia*'): open(node, 'rb')"
        assert seen is not None and seen.endswith("'', False)")
        assert seen.startswith("([]") or (await kernel.run(opened)).error_name == "PermissionError"


async def test_processor_time_is_capped_or_refused() -> None:
    limits = Limits(cpus=0.1)
    for tier, properties in probe().properties.items():
        if properties["cpu"].level != "enforced":
            with pytest.raises(SandboxError, match=f"cpu cannot be enforced in tier {tier} here .cpu has nothing but"):
                KernelPool(limits=limits, tier=tier)
            continue
        burn = "import time\nstarted, end = time.monotonic(), time.process_time() + 0.15\n"
        burn += "while time.process_time() < end: pass\ntime.monotonic() - started"
        async with KernelPool(size=0, preload=(), tier=tier, limits=limits) as pool, await pool.acquire() as kernel:
            taken = (await kernel.run(burn)).value
        # 15 periods' worth of 10 ms each: with the cap it cannot be had in less than 13 whole periods of 100 ms
        assert taken is not None and float(taken) > 1.2
