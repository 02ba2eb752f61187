"""Cases that try to escape: to the host's files, network, other processes and rare system calls."""

from __future__ import annotations

from typing import Any

from sandbox.security_suite.case import Case, attempts, tries
from sandbox.security_suite.fixtures import Fixtures

_CONNECT = "s = socket.socket(socket.{}, socket.{}); s.settimeout(1); s.connect({})"

_SYSCALL = """
libc = ctypes.CDLL(None, use_errno=True)
if libc.syscall({}) == -1:
    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
"""


async def _files_through_links(kernel: Any, fixtures: Fixtures) -> str | None:
    """Reads and writes the links and the pipe that the cell left in its workspace, as the host."""
    for path in ("link", "folder/secret", "pipe"):
        try:
            data = await kernel.get(path)
        except (OSError, ValueError):
            continue
        return f"the host followed {path} to {data[:20]!r}"
    for path in ("link", "folder/new"):
        try:
            await kernel.put(path, b"written by the host")
        except (OSError, ValueError):
            continue
        return f"the host wrote through {path}"
    return None


FILES = [
    *attempts(
        "files",
        "files",
        "mount namespace, Landlock",
        {
            "read a secret of the host": "print(open('{secret}').read())",
            "read /etc/shadow": "open('/etc/shadow').read()",
            "list the root user's home": "os.listdir('{root_home}'); open('{root_home}/.profile').read()",
            "read the owner's environment": "open('/proc/{owner}/environ', 'rb').read()",
            "read the project's source": "open('{source}').read()",
            "list the host's temporary files": "assert '{secret_name}' in os.listdir('{secret_folder}')",
            "symlink to a secret": "os.symlink('{secret}', 'l'); open('l').read()",
            "hard link to a secret": "os.link('{secret}', 'h'); open('h').read()",
            "read kernel memory": "open('/proc/kcore', 'rb').read(64)",
            "read the disk": "open('/dev/vda', 'rb').read(1)",
        },
        harmless=True,
    ),
    *attempts(
        "files",
        "files",
        "mount namespace, Landlock",
        {
            "read a sibling's workspace": "open('{sibling_file}').read()",
            "list the siblings' workspaces": "os.listdir('{base}')",
            "write outside the workspace": "open('/usr/lib/new', 'w')",
            "write to site-packages": "import IPython; open(os.path.dirname(IPython.__file__) + '/x.py', 'w')",
            "write to /proc/sys": "open('/proc/sys/kernel/hostname', 'w').write('x')",
            "change the owner of a host's file": "os.chown('{secret}', 1, 1)",
            "watch a folder of the host": _SYSCALL.format("254, libc.inotify_init1(0), b'{secret_folder}', 0x100"),
            "make a device": "os.mknod('d', 0o660 | 0o060000, os.makedev(254, 0)); open('d', 'rb').read(1)",
        },
        unsafe=True,
    ),
    Case(
        "change the mode of a host's file",
        "files",
        "import os\ntry:\n    os.chmod('{secret}', 0)\nexcept OSError:\n    pass",
        "files",
        ("ok",),
        stopped_by="mount namespace, seccomp",
        unsafe=True,
    ),
    Case(
        "links laid out for the host",
        "files",
        "import os\nos.symlink('{secret}', 'link'); os.symlink('{secret_folder}', 'folder'); os.mkfifo('pipe')",
        None,
        ("ok", "error"),
        check=_files_through_links,
        stopped_by="openat2: beneath the workspace, no links",
    ),
]

NETWORK = attempts(
    "network",
    "network",
    "network namespace, seccomp",
    {
        "connect to the host's loopback": _CONNECT.format("AF_INET", "SOCK_STREAM", "('127.0.0.1', {tcp})"),
        "connect to the internet": _CONNECT.format("AF_INET", "SOCK_STREAM", "('192.0.2.1', 80)"),
        "ask the cloud's metadata service": _CONNECT.format("AF_INET", "SOCK_STREAM", "('169.254.169.254', 80)"),
        "send a datagram": "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(b'x', ('192.0.2.1', 53))",
        "resolve a name": "socket.getaddrinfo('example.org', 80)",
        "connect to a Unix socket of the host": _CONNECT.format("AF_UNIX", "SOCK_STREAM", "'{unix}'"),
        "connect to an abstract socket of the host": _CONNECT.format("AF_UNIX", "SOCK_STREAM", "'\\0{abstract}'"),
        "send to a Unix socket of the host from a pair": (
            "a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM); a.sendto(b'x', '{datagrams}')"
        ),
        "open a raw socket": "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)",
        "open a vsock": "socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)",
        "open AF_ALG": "socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET)",
        "open multipath TCP": "socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)",
        "open netlink": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    },
    harmless=True,
)
NETWORK.append(
    Case(
        "connect to the sandbox's own sockets",
        "network",
        """
import os, socket, stat, sys
packages = {{sys.prefix, sys.base_prefix, *(p for p in sys.path if p.endswith('-packages'))}}  # large, and read-only
for root in ('/tmp', '{base}'):
    for folder, below, names in os.walk(root):
        below[:] = [name for name in below if os.path.join(folder, name) not in packages]
        for name in names:
            path = os.path.join(folder, name)
            try:
                if not stat.S_ISSOCK(os.lstat(path).st_mode): continue
                s = socket.socket(socket.AF_UNIX); s.connect(path)
                print('BREACH', path)
            except OSError: pass
""",
        "network",
        ("ok",),
    )
)

_AT_A_PROCESS = {
    "kill {}": "os.kill({0}, 9)",
    "limit {}": "resource.prlimit({0}, resource.RLIMIT_DATA, (1, 1))",
    "slow {}": "os.setpriority(os.PRIO_PROCESS, {0}, 19)",
    "slow the disk of {}": _SYSCALL.format("251, 1, {0}, 3 << 13"),
    "read the memory of {}": "open('/proc/{0}/mem', 'rb').read(1)",
    "trace {}": _SYSCALL.format("101, 16, {0}, 0, 0"),
    "take a descriptor of {}": _SYSCALL.format("438, os.pidfd_open({0}), 0, 0"),
}

_SCHEDULING = {  # may succeed without an effect, which the host checks
    "pin {} to a processor": "os.sched_setaffinity({0}, [0])",
    "change the scheduling of {}": "os.sched_setscheduler({0}, os.SCHED_BATCH, os.sched_param(0))",
}
_WHOM = (("a process of the host", "{victim}"), ("a sibling", "{sibling}"))

PROCESSES = attempts(
    "processes",
    None,
    "pid namespace, Landlock, seccomp",
    {name.format(whom): code.replace("{0}", pid) for whom, pid in _WHOM for name, code in _AT_A_PROCESS.items()}
    | {
        "kill the owner": "os.kill({owner}, 9)",
        "raise the own priority": "os.nice(-5)",
        "raise the own limits": "resource.setrlimit(resource.RLIMIT_NOFILE, (1 << 20, 1 << 20))",
        "become root": "os.setuid(0); os.chown('/usr', 0, 0)",
    },
    unsafe=True,
)
PROCESSES += [
    Case(
        name.format(whom),
        "processes",
        f"import os\ntry: {code.replace('{0}', pid)}\nexcept OSError as e: print('stopped:', e)",
        None,
        ("ok",),
        stopped_by="pid namespace, seccomp",
        unsafe=True,
    )
    for whom, pid in _WHOM
    for name, code in _SCHEDULING.items()
]
PROCESSES.append(
    Case(
        "see the host's processes",
        "processes",
        """
import os
try:
    for name in os.listdir('/proc'):
        try:
            if name.isdigit() and b'{victim_name}' in open('/proc/' + name + '/cmdline', 'rb').read(): print('BREACH')
        except OSError: pass
except OSError as e: print('stopped:', e)
""",
        None,
        ("ok",),
        stopped_by="pid namespace, Landlock",
        harmless=True,
    )
)
PROCESSES.append(  # Linux reports success when no process could be signalled
    Case(
        "signal everything",
        "processes",
        "import os\ntry: os.kill(-1, 9)\nexcept OSError as e: print(e)",
        None,
        ("ok",),
        stopped_by="pid namespace, Landlock",
        unsafe=True,
    )
)

KERNEL_CALLS = [
    Case(name, "system calls", tries(_SYSCALL.format(call)), None, ("ok",), stopped_by="seccomp")
    for name, call in {
        "mount": "165, b'x', b'/tmp', b'tmpfs', 0, 0",
        "unshare a user namespace": "272, 0x10000000",
        "clone a user namespace": "56, 0x10000011, 0, 0, 0, 0",
        "setns": "308, 0, 0",
        "pivot_root": "155, b'/', b'/'",
        "bpf": "321, 0, 0, 0",
        "io_uring": "425, 1, ctypes.create_string_buffer(120)",
        "userfaultfd": "323, 0",
        "keyctl": "250, 0, -3, 1",
        "perf_event_open": "298, ctypes.create_string_buffer(128), 0, -1, -1, 0",
        "chroot": "161, b'/'",
        "process_vm_readv": "310, {victim}, 0, 0, 0, 0, 0",
        "x32 call": "0x40000000 + 39",
        "kexec_load": "246, 0, 0, 0, 0",
        "personality": "135, 0x0040000",
        "open_by_handle_at": "304, 0, 0, 0",
    }.items()
]
KERNEL_CALLS.append(
    Case(
        "clone3",
        "system calls",
        tries(_SYSCALL.format("435, 0, 0")),
        None,
        ("ok",),
        check_result=lambda result: (
            "not implemented" in result.stdout
        ),  # its flags cannot be judged, and the C library falls back
        stopped_by="seccomp: as if it did not exist",
    )
)
