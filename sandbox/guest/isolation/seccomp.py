"""The system call filter of a kernel, as classic BPF.

Contract: calls that act outside the sandbox or use rarely used parts of the Linux kernel fail with EPERM; calls a
filter cannot inspect (``clone3``) and calls newer than this table fail with ENOSYS, so libraries fall back. Calls of a
foreign ABI fail instead of killing one thread and leaving the process hanging. Assembled once in the fork server;
loading it costs microseconds, and Linux caches the decision for calls that are always allowed. The filter does not see
paths and does not stop file access; Landlock and the mount namespace do.
"""

from __future__ import annotations

import ctypes
import errno
import struct

from sandbox.guest.isolation.linux import MACHINE, PR_SET_NO_NEW_PRIVS, prctl, syscall

# name: number on x86_64 and on aarch64, -1 where the call does not exist
DENIED = {
    "acct": (163, 89), "add_key": (248, 217), "adjtimex": (159, 171), "bpf": (321, 280), "chroot": (161, 51),
    "clock_adjtime": (305, 266), "clock_settime": (227, 112), "delete_module": (176, 106),
    "fanotify_init": (300, 262), "finit_module": (313, 273), "fsconfig": (431, 431), "fsmount": (432, 432),
    "fsopen": (430, 430), "fspick": (433, 433), "init_module": (175, 105), "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427), "io_uring_setup": (425, 425), "ioperm": (173, -1), "iopl": (172, -1),
    "kcmp": (312, 272), "kexec_file_load": (320, 294), "kexec_load": (246, 104), "keyctl": (250, 219),
    "lookup_dcookie": (212, 18), "memfd_secret": (447, 447), "migrate_pages": (256, 238), "modify_ldt": (154, -1),
    "mount": (165, 40), "mount_setattr": (442, 442), "move_mount": (429, 429), "move_pages": (279, 239),
    "name_to_handle_at": (303, 264), "nfsservctl": (180, 42), "open_by_handle_at": (304, 265),
    "open_tree": (428, 428), "perf_event_open": (298, 241), "personality": (135, 92), "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41), "process_madvise": (440, 440), "process_mrelease": (448, 448),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "ptrace": (101, 117), "quotactl": (179, 60),
    "quotactl_fd": (443, 443), "reboot": (169, 142), "request_key": (249, 218), "setdomainname": (171, 162),
    "sethostname": (170, 161), "setns": (308, 268), "settimeofday": (164, 170), "swapoff": (168, 225),
    "swapon": (167, 224), "syslog": (103, 116), "umount2": (166, 39), "unshare": (272, 97), "uselib": (134, -1),
    "userfaultfd": (323, 282), "vhangup": (153, 58),
}  # fmt: skip
# memory that RLIMIT_DATA does not count
UNCOUNTED = {"memfd_create": (319, 279), "shmget": (29, 194)}
# System V and POSIX queues: visible to the whole machine, and they outlive their creator
SHARED_IPC = {
    "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "shmdt": (67, 197), "semget": (64, 190),
    "semop": (65, 193), "semctl": (66, 191), "semtimedop": (220, 192), "msgget": (68, 186), "msgsnd": (69, 189),
    "msgrcv": (70, 188), "msgctl": (71, 187), "mq_open": (240, 180), "mq_unlink": (241, 181),
    "mq_timedsend": (242, 182), "mq_timedreceive": (243, 183), "mq_notify": (244, 184), "mq_getsetattr": (245, 185),
}  # fmt: skip
# leaves the kernel's process group, the only handle on its processes without a pid namespace
DETACHING = {"setsid": (112, 157), "setpgid": (109, 154)}
# reveals names of files that Landlock hides, and the number per user is small (fanotify is in DENIED)
WATCHING = {"inotify_init": (253, -1), "inotify_init1": (294, 26), "inotify_add_watch": (254, 27)}
# not covered by Landlock: owner, extended attributes; mode and times are in IGNORED
OWNERS = {
    "chown": (92, -1), "fchown": (93, 55), "lchown": (94, -1), "fchownat": (260, 54), "setxattr": (188, 5),
    "lsetxattr": (189, 6), "fsetxattr": (190, 7), "removexattr": (197, 14), "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
}  # fmt: skip
# succeeds without an effect, because much of the standard library copies modes and times along with files
IGNORED = {
    "chmod": (90, -1), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "utime": (132, -1),
    "utimes": (235, -1), "futimesat": (261, -1), "utimensat": (280, 88),
}  # fmt: skip
# an argument other than 0 may mean another process of the same user: name -> (numbers, argument, error); scheduling
# calls succeed without an effect, because libraries schedule their own threads by id and abort on an error
ON_OTHERS = {
    "prlimit64": ((302, 261), 0, errno.EPERM), "setpriority": ((141, 140), 1, errno.EPERM),
    "ioprio_set": ((251, 30), 1, errno.EPERM), "sched_setaffinity": ((203, 122), 0, 0),
    "sched_setscheduler": ((144, 119), 0, 0), "sched_setparam": ((142, 118), 0, 0), "sched_setattr": ((314, 274), 0, 0),
}  # fmt: skip
# this first argument means all processes of the user
ON_THE_USER = {"setpriority": 2, "ioprio_set": 3}
# calls that set the mode of a file: name -> (numbers, argument with the open flags, argument with the mode)
SETTING_MODES = {
    "chmod": ((90, -1), None, 1), "fchmod": ((91, 52), None, 1), "fchmodat": ((268, 53), None, 2),
    "fchmodat2": ((452, 452), None, 2), "creat": ((85, -1), None, 1), "mknod": ((133, -1), None, 1),
    "mknodat": ((259, 33), None, 2), "open": ((2, -1), 1, 2), "openat": ((257, 56), 2, 3),
}  # fmt: skip
OPENAT2 = (437, 437)
MAKES_A_FILE = 0o100 | 0o20000000  # O_CREAT, __O_TMPFILE
SET_ID = 0o6000
CLONE, CLONE3, IOCTL, MMAP = (56, 220), (435, 435), (16, 29), (9, 222)
SOCKET, SOCKETPAIR, SETSOCKOPT = (41, 198), (53, 199), (54, 208)
NEWEST = 462
ANY_NAMESPACE = 0x7E020000
TIOCSTI, TIOCLINUX = 0x5412, 0x541C
MAP_SHARED_ANONYMOUS = 0x21
AF_UNIX, AF_INET, AF_INET6 = 1, 2, 10
SOCK_STREAM, SOCK_DGRAM, SOCK_TYPE = 1, 2, 0xF
PROTOCOLS = (0, 6, 17)  # the type's own, TCP, UDP; not MPTCP, SCTP, UDP-Lite …
SOL_SOCKET, SO_SNDBUF, SO_RCVBUF, SO_LINGER = 1, 7, 8, 13

_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_LOAD, _EQUAL, _ABOVE, _AND, _RETURN = 0x20, 0x15, 0x25, 0x54, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NR, _ARCH_AT, _ARGS = 0, 4, 16
_SECCOMP = {"x86_64": 317, "aarch64": 277}


def _op(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("HBBI", code, yes, no, value)


def _fail(number: int) -> bytes:
    return _op(_RETURN, _ERRNO | number)


def _argument(index: int) -> bytes:
    return _op(_LOAD, _ARGS + 8 * index)  # the low half: both machines are little endian


def assemble(
    families: tuple[int, ...], count_memory: bool, shared: bool, deny_set_id: bool = False
) -> ctypes.Array[ctypes.c_char]:
    """The filter program, in a buffer that Linux reads.

    ``families``: socket families that may be opened, all but AF_UNIX with TCP and UDP only; ``count_memory``: deny
    memory that RLIMIT_DATA does not count, and larger socket buffers (used without a memory cgroup); ``shared``: no
    namespace separates kernels from the host's files and processes, so deny leaving the process group, acting on other
    processes, machine-wide IPC objects, socket pairs other than streams, watching files, and changing their owner, mode
    and times; ``deny_set_id``: deny set-user-id bits, because a file may lie in a folder of the host and belong to its
    owner.
    """
    column = 0 if MACHINE == "x86_64" else 1
    apart = {**SHARED_IPC, **DETACHING, **WATCHING, **OWNERS} if shared else {}
    denied = {**DENIED, **(UNCOUNTED if count_memory else {}), **apart}
    code = [_op(_LOAD, _ARCH_AT), _op(_EQUAL, _ARCH[MACHINE], 1), _fail(errno.EPERM), _op(_LOAD, _NR)]
    code += [_op(_ABOVE, NEWEST, 0, 1), _fail(errno.ENOSYS)]  # the numbers of the x32 ABI are above it, too
    for numbers in denied.values():
        if numbers[column] >= 0:
            code += [_op(_EQUAL, numbers[column], 0, 1), _fail(errno.EPERM)]
    for numbers in IGNORED.values() if shared else ():
        if numbers[column] >= 0:
            code += [_op(_EQUAL, numbers[column], 0, 1), _fail(0)]
    code += [_op(_EQUAL, CLONE3[column], 0, 1), _fail(errno.ENOSYS)]
    for name, (numbers, index, error) in ON_OTHERS.items() if shared else ():
        on_others = [_argument(index), _op(_EQUAL, 0, 1), _fail(error)]
        if name in ON_THE_USER:
            on_others += [_argument(0), _op(_EQUAL, ON_THE_USER[name], 0, 1), _fail(error)]
        code += _rule(numbers[column], on_others)
    code += _rule(CLONE[column], [_argument(0), _op(_AND, ANY_NAMESPACE), _op(_EQUAL, 0, 1), _fail(errno.EPERM)])
    tty = [_argument(1), _op(_EQUAL, TIOCSTI, 1), _op(_EQUAL, TIOCLINUX, 0, 1), _fail(errno.EPERM)]
    code += _rule(IOCTL[column], tty)
    code += _sockets(column, families, shared)
    # a socket sent to the host must not make the host's close() wait
    code += _pretend_to_set(column, (SO_LINGER, *((SO_SNDBUF, SO_RCVBUF) if count_memory else ())))
    if deny_set_id:
        code += _no_set_id(column)
    if count_memory:
        both = [_op(_AND, MAP_SHARED_ANONYMOUS), _op(_EQUAL, MAP_SHARED_ANONYMOUS, 0, 1), _fail(errno.ENOMEM)]
        code += _rule(MMAP[column], [_argument(3), *both])
    program = b"".join([*code, _op(_RETURN, _ALLOW)])
    return ctypes.create_string_buffer(program, len(program))


def _sockets(column: int, families: tuple[int, ...], shared: bool) -> list[bytes]:
    kind = [_argument(1), _op(_AND, SOCK_TYPE)]
    code = [_argument(0), *_only(families, errno.EAFNOSUPPORT), _op(_EQUAL, AF_UNIX, 0, 1), _op(_RETURN, _ALLOW)]
    code += [*kind, *_only((SOCK_STREAM, SOCK_DGRAM), errno.ESOCKTNOSUPPORT)]
    code += [_argument(2), *_only(PROTOCOLS, errno.EPROTONOSUPPORT)]
    pair = [_argument(0), *_only((AF_UNIX,), errno.EAFNOSUPPORT)]
    if shared:  # one end of a pair of datagram sockets can be reconnected to a socket of the host
        pair += [*kind, *_only((SOCK_STREAM,), errno.EPERM)]
    return [*_rule(SOCKET[column], code), *_rule(SOCKETPAIR[column], pair)]


def _pretend_to_set(column: int, options: tuple[int, ...]) -> list[bytes]:
    code = [_argument(2)]
    for option in options:
        code += [_op(_EQUAL, option, 0, 1), _fail(0)]
    return _rule(SETSOCKOPT[column], [_argument(1), _op(_EQUAL, SOL_SOCKET, 0, len(code)), *code])


def _no_set_id(column: int) -> list[bytes]:
    code = [_op(_EQUAL, OPENAT2[column], 0, 1), _fail(errno.ENOSYS)]  # its mode is in memory; callers fall back
    for numbers, flags, mode in SETTING_MODES.values():
        checked = [_argument(mode), _op(_AND, SET_ID), _op(_EQUAL, 0, 1), _fail(errno.EPERM)]
        if flags is not None:
            checked = [_argument(flags), _op(_AND, MAKES_A_FILE), _op(_EQUAL, 0, len(checked)), *checked]
        if numbers[column] >= 0:
            code += _rule(numbers[column], checked)
    return code


def _only(values: tuple[int, ...], error: int) -> list[bytes]:
    """Continues if the loaded value is one of ``values``, else fails."""
    return [*(_op(_EQUAL, value, len(values) - i) for i, value in enumerate(values)), _fail(error)]


def _rule(number: int, body: list[bytes]) -> list[bytes]:
    """Runs ``body`` for one system call; a body that falls through allows it."""
    return [_op(_EQUAL, number, 0, len(body) + 1), *body, _op(_RETURN, _ALLOW)]


def load(program: ctypes.Array[ctypes.c_char]) -> None:
    """Installs the filter on this process permanently, and forbids gaining privileges by executing files."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    header = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(program))
    syscall("seccomp", _SECCOMP[MACHINE], 1, 0, header)
