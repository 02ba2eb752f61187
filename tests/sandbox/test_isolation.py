"""Every property the probe claims, tried from inside a cell of every tier this machine has."""

import ctypes
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox import KernelPool, SandboxError, probe
from sandbox.kernel import Kernel
from tests.helpers.sleepers import appears, sleepers

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def blocked(kernel: Kernel, code: str) -> bool:
    """Whether the code raises an OSError or MemoryError; anything else that ends the cell is a failure of the test."""
    body = "\n".join(f"    {line}" for line in code.splitlines())
    result = await kernel.run(f"try:\n{body}\nexcept (OSError, MemoryError) as e:\n    print('blocked', e)")
    assert result.status == "ok", result
    return result.stdout.startswith("blocked")


async def test_files_of_the_host_cannot_be_read_or_written(isolated: KernelPool, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret")
    source = Path(__file__).resolve()
    async with await isolated.acquire() as kernel, await isolated.acquire() as sibling:
        for path in (secret, source, "/etc/shadow", "/proc/1/environ" if isolated.tier == "T1" else "/proc/kcore"):
            assert await blocked(kernel, f"open({str(path)!r}).read()"), path
        for path in (secret, "/usr/new", "/new", "/proc/sys/kernel/hostname", f"{sys.prefix}/new"):
            assert await blocked(kernel, f"open({str(path)!r}, 'w')"), path
        await kernel.run(f"import os\nos.symlink({str(secret)!r}, 'link')")
        assert await blocked(kernel, "open('link').read()")
        where = (await sibling.run("import os\nopen('mine', 'w').write('x')\nos.getcwd()")).value
        assert where is not None
        if isolated.tier == "T1":
            assert await blocked(kernel, f"open({where[1:-1]!r} + '/mine').read()")
            await kernel.run(f"os.chmod({str(secret)!r}, 0)\nos.utime({str(secret)!r}, (1, 1))")
            assert await blocked(kernel, f"os.chown({str(secret)!r}, {os.getuid()}, {os.getgid()})")
            assert (await kernel.run("import shutil\nshutil.copy('link', 'l2')")).error_name == "PermissionError"
            assert (await kernel.run("open('a', 'w').write('x')\nshutil.copy('a', 'b')")).value == "'b'"
    assert secret.read_text() == "s3cret" and secret.stat().st_mode & 0o777 and secret.stat().st_mtime > 1


async def test_no_network_and_no_socket_of_the_host(isolated: KernelPool, tmp_path: Path) -> None:
    with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as local, socket.socket(socket.AF_UNIX) as abstract:
        tcp.bind(("127.0.0.1", 0))
        local.bind(str(tmp_path / "s"))
        name = f"\0codeact-test-{os.getpid()}"
        abstract.bind(name)
        for sock in (tcp, local, abstract):
            sock.listen()
        async with await isolated.acquire() as kernel:
            await kernel.run("import socket")
            connect = "s = socket.socket(socket.{}, socket.{})\ns.settimeout(2)\ns.connect({!r})"
            assert await blocked(kernel, connect.format("AF_INET", "SOCK_STREAM", tcp.getsockname()))
            assert await blocked(kernel, connect.format("AF_INET", "SOCK_STREAM", ("192.0.2.1", 80)))
            assert await blocked(kernel, connect.format("AF_INET", "SOCK_DGRAM", ("169.254.169.254", 53)))
            assert await blocked(kernel, connect.format("AF_UNIX", "SOCK_STREAM", str(tmp_path / "s")))
            assert await blocked(kernel, connect.format("AF_UNIX", "SOCK_STREAM", name))
            for family in ("AF_NETLINK", "AF_PACKET", "AF_VSOCK", "AF_ALG"):
                assert await blocked(kernel, f"socket.socket(socket.{family}, socket.SOCK_RAW, 0)"), family


async def test_sockets_speak_tcp_and_udp_only(isolated: KernelPool) -> None:
    opening = "import socket\nfor kind in {}:\n    try: socket.socket(socket.AF_INET6, *kind).close()\n"
    opening += "    except OSError as e: print(e.strerror)\n    else: print('opened')"
    multipath, udp_lite, sctp, raw = (1, 262), (2, 136), (5, 0), (3, 1)
    tcp, udp = (1, 6), (2 | socket.SOCK_NONBLOCK, 17)
    async with await isolated.acquire() as kernel:
        refused = (await kernel.run(opening.format([multipath, udp_lite, sctp, raw]))).stdout.splitlines()
        opened = (await kernel.run(opening.format([(1, 0), tcp, udp]))).stdout.splitlines()
    if isolated.tier == "T1":
        assert {*refused, *opened} == {"Address family not supported by protocol"}
    else:
        assert refused == ["Protocol not supported"] * 2 + ["Socket type not supported"] * 2
        assert opened == ["opened"] * 3


async def test_pairs_of_sockets_lead_nowhere_else(isolated: KernelPool, tmp_path: Path) -> None:
    datagrams = (socket.AF_UNIX, socket.SOCK_DGRAM)
    with socket.socket(*datagrams) as local, socket.socket(*datagrams) as own:
        name = f"\0codeact-test-{os.getpid()}"
        local.bind(str(tmp_path / "s"))
        own.bind(name)
        async with await isolated.acquire() as kernel:
            for place in (str(tmp_path / "s"), name):
                send = "a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
                assert await blocked(kernel, f"import socket\n{send}a.sendto(b'x', {place!r})"), place
            for family in ("AF_NETLINK", "AF_VSOCK", "AF_TIPC", "AF_INET"):
                result = await kernel.run(f"socket.socketpair(socket.{family}, socket.SOCK_DGRAM)")
                assert "Address family not supported" in (result.error_value or ""), family
            pipe = "import asyncio, multiprocessing as m\na, b = m.Pipe()\na.send(41)\n"
            assert (await kernel.run(f"{pipe}await asyncio.sleep(0.001)\nb.recv() + 1")).value == "42"
            assert (await kernel.run("asyncio.new_event_loop().run_until_complete(asyncio.sleep(0, 1))")).value == "1"


async def test_buffers_grow_only_where_they_are_counted(isolated: KernelPool) -> None:
    code = """
import socket
a, b = socket.socketpair()
kept = []
for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
    before = a.getsockopt(socket.SOL_SOCKET, option)
    a.setsockopt(socket.SOL_SOCKET, option, before // 4)
    kept.append(a.getsockopt(socket.SOL_SOCKET, option) == before)
kept"""
    async with await isolated.acquire() as kernel:
        assert (await kernel.run(code)).value == ("[False, False]" if isolated.tier == "T3" else "[True, True]")


async def test_no_socket_lingers(isolated: KernelPool) -> None:
    code = "import socket, struct\na, b = socket.socketpair()\nlinger = socket.SOL_SOCKET, socket.SO_LINGER\n"
    code += "a.setsockopt(*linger, struct.pack('ii', 1, 60))\na.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)\n"
    code += "struct.unpack('ii', a.getsockopt(*linger, 8)), a.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)"
    async with await isolated.acquire() as kernel:
        assert (await kernel.run(code)).value == "((0, 0), 1)"


async def test_files_of_the_host_cannot_be_watched(isolated: KernelPool, tmp_path: Path) -> None:
    code = "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\n"
    code += f"if libc.inotify_add_watch(libc.inotify_init1(0), {str(tmp_path).encode()!r}, 0x100) == -1:\n"
    code += "    raise OSError(ctypes.get_errno(), 'watch')"
    async with await isolated.acquire() as kernel:
        assert await blocked(kernel, code)
        if isolated.tier == "T1":
            assert await blocked(kernel, "if libc.inotify_init1(0) == -1: raise OSError(ctypes.get_errno(), 'init')")


async def test_other_processes_are_out_of_reach(isolated: KernelPool) -> None:
    with subprocess.Popen(["sleep", "60"]) as victim:
        async with await isolated.acquire() as kernel, await isolated.acquire() as sibling:
            await kernel.run("import os, resource, ctypes")
            other = (await sibling.run("import os\nos.getpid()")).value
            # in a pid namespace the sibling's number is this kernel's own, or unused
            numbers = [victim.pid, os.getpid(), *([int(other or 0)] if isolated.tier == "T1" else [])]
            for pid in numbers:
                assert await blocked(kernel, f"os.kill({pid}, 9)"), pid
                assert await blocked(kernel, f"resource.prlimit({pid}, resource.RLIMIT_DATA, (1, 1))"), pid
                assert await blocked(kernel, f"os.setpriority(os.PRIO_PROCESS, {pid}, 10)"), pid
                assert await blocked(kernel, f"open('/proc/{pid}/environ').read()"), pid
            assert (await sibling.run("1")).value == "1"
        assert victim.poll() is None
        victim.kill()


async def test_siblings_share_neither_priorities_nor_objects_of_the_machine(isolated: KernelPool) -> None:
    libc = ctypes.CDLL(None)
    segment = libc.shmget(0, 4096, 0o600)
    async with await isolated.acquire() as kernel:
        try:
            attach = "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\ndef call(name, *args):\n"
            attach += "    if getattr(libc, name)(*args) == -1: raise OSError(ctypes.get_errno(), name)\n"
            assert await blocked(kernel, f"{attach}call('shmat', {segment}, None, 0)")
        finally:
            libc.shmctl(segment, 0, None)
        if isolated.tier != "T1":
            return  # an own namespace has everything, and ends with it
        for made in ("'semget', 77, 1, 0o1600", "'msgget', 77, 0o1600", "'mq_open', b'/q', 0o102, 0o600, None"):
            assert await blocked(kernel, f"call({made})"), made
        assert await blocked(kernel, "os.setpriority(os.PRIO_USER, 0, 5)")
        assert await blocked(kernel, "call('syscall', 251, 3, 0, 0)") or os.uname().machine != "x86_64"
        assert (await kernel.run("os.setpriority(os.PRIO_PROCESS, 0, 5)")).status == "ok"


async def test_a_signal_to_the_own_process_group_reaches_no_other_process(isolated: KernelPool) -> None:
    async with await isolated.acquire() as kernel, await isolated.acquire() as sibling:
        await sibling.run("x = 1")
        await kernel.run("import os; os.kill(0, 9)")  # its own end, where it is not the first of a pid namespace
        assert (await sibling.run("x")).value == "1"


async def test_privileged_calls_fail(isolated: KernelPool) -> None:
    code = """
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
def refused(number, *args):
    ctypes.set_errno(0)
    return libc.syscall(number, *args) == -1 and ctypes.get_errno() in (errno.EPERM, errno.ENOSYS)
names = dict(ptrace=(101, 0), mount=(165, 0), unshare=(272, 0x10000000), bpf=(321, 0), io_uring=(425, 1, 0),
             userfaultfd=(323, 0), keyctl=(250, 0), perf=(298, 0), chroot=(161, b"."), vm_readv=(310, 1),
             clone3=(435, 0, 0), clone_ns=(56, 0x10000000, 0), x32=(0x40000000 + 39,), setns=(308, 0), new=(467, 0))
[name for name, call in names.items() if not refused(*call)]
"""
    if os.uname().machine != "x86_64":
        pytest.skip("the numbers are those of x86_64")
    async with await isolated.acquire() as kernel:
        assert (await kernel.run(code)).value == "[]"
        assert await blocked(kernel, "os.setuid(0); os.setgid(0); os.chown('/usr', 0, 0)")
        assert await blocked(kernel, "os.nice(-5)")
        status = (await kernel.run("print(open('/proc/self/status').read()[-900:])")).stdout
    assert "NoNewPrivs:\t1" in status and "CapEff:\t0000000000000000" in status
    assert "Seccomp:\t2" in status
    if isolated.tier != "T1" or os.geteuid() == 0:  # an unprivileged process has nothing to drop
        assert "CapBnd:\t0000000000000000" in status


async def test_disk_and_file_sizes_end(isolated: KernelPool) -> None:
    async with await isolated.acquire() as kernel:
        assert await blocked(kernel, "open('one', 'wb').write(bytes(9 << 20))")
        await kernel.run("import os\nos.unlink('one')")
        if probe().properties[isolated.tier]["disk"].level == "enforced":
            assert await blocked(kernel, "for i in range(20): open(f'f{i}', 'wb').write(bytes(1 << 20))")
            assert await blocked(kernel, "for i in range(300): open(f'g{i}', 'wb').close()")
            assert await blocked(kernel, "for i in range(80): open(f'/dev/shm/h{i}', 'wb').write(bytes(1 << 20))")


async def test_a_fork_bomb_ends_at_the_limit(isolated: KernelPool) -> None:
    if probe().properties[isolated.tier]["processes"].level != "enforced":
        pytest.skip("this tier only watches the number of processes")
    code = "import os, time\nfor i in range(100):\n    if os.fork() == 0:\n        time.sleep(30); os._exit(0)"
    async with await isolated.acquire() as kernel, await isolated.acquire() as sibling:
        assert await blocked(kernel, code)
        assert (await sibling.run("import subprocess\nsubprocess.run(['true']).returncode")).value == "0"


async def test_memory_ends_at_the_limit(isolated: KernelPool) -> None:
    async with await isolated.acquire() as kernel:
        assert await blocked(kernel, "x = bytearray(300 << 20)")
        if isolated.tier != "T3":
            assert await blocked(kernel, "import mmap\nmmap.mmap(-1, 300 << 20)")
            assert await blocked(kernel, "import os\nos.memfd_create('x')")
            return
        result = await kernel.run("import mmap\nm = mmap.mmap(-1, 600 << 20)\nm.write(bytes(200 << 20) * 3)")
        assert result.status in ("out_of_memory", "error") and result.error_name in (None, "MemoryError")
        many = "import os\nfor i in range(6):\n    if os.fork() == 0:\n        x = bytearray(150 << 20); os._exit(0)\n"
        many += "[os.waitstatus_to_exitcode(os.wait()[1]) for i in range(6)]"
        assert (await kernel.run(many)).status in ("ok", "out_of_memory")


async def test_what_is_only_watched_ends_soon(isolated: KernelPool) -> None:
    if isolated.tier == "T3":
        pytest.skip("everything is bounded by a mechanism")
    many = "import os, time\nfor i in range(4):\n    if os.fork() == 0: x = bytearray(100 << 20); time.sleep(60)\n"
    async with await isolated.acquire() as kernel:
        assert (await kernel.run(f"{many}time.sleep(60)")).status == "out_of_memory"
        if isolated.tier == "T1":
            bomb = many.replace("range(4)", "range(40)").replace("x = bytearray(100 << 20); ", "")
            result = await kernel.run(f"{bomb}time.sleep(60)")
            assert result.status == "died" and "more than 16 processes" in result.stderr
            disk = "for i in range(12): open(f'f{i}', 'wb').write(bytes(1 << 20))\nimport time; time.sleep(60)"
            result = await kernel.run(disk)
            assert result.status == "died" and "workspace larger than 8 MiB" in result.stderr


async def test_a_folder_that_may_not_be_listed_hides_nothing(isolated: KernelPool) -> None:
    if isolated.tier != "T1":
        pytest.skip("the workspace is no folder of the host")
    code = "import os, time\nfor path in ('h', 'h/h', 'r', 'r/r'): os.mkdir(path, 0o300)\n"
    code += "for i in range(12): open(f'h/h/f{i}', 'wb').write(bytes(1 << 20))\ntime.sleep(60)"
    async with await isolated.acquire() as kernel:
        result = await kernel.run(code)
        assert result.status == "died" and "workspace larger than 8 MiB" in result.stderr
        await kernel.run("import os\nfor path in ('h', 'h/h'): os.mkdir(path, 0o300)\nos.mkdir('h/r', 0o100)")
        assert kernel.process is not None and isolated.server is not None
        workspace = Path(isolated.server.base, str(kernel.process.number))
        assert workspace.exists()
    assert not workspace.exists()


async def test_what_a_kernel_started_ends_with_it(isolated: KernelPool) -> None:
    code = "import subprocess, sys\np = subprocess.Popen(['sleep', '98765'])\np.poll()"
    kernel = await isolated.acquire()
    assert (await kernel.run(code)).status == "ok"
    assert await appears("98765")
    await kernel.close()
    assert not sleepers("98765")


async def test_a_weaker_sandbox_is_never_given_silently() -> None:
    with pytest.raises(ValueError, match="require: unknown everything"):
        KernelPool(require={"everything"})
    with pytest.raises(SandboxError, match="files"):
        KernelPool(tier="T0", require={"files"})
    for tier, properties in probe().properties.items():
        enforced = {name for name, found in properties.items() if found.level == "enforced"}
        assert KernelPool(tier=tier, require=enforced).tier == tier
