"""Fixtures on the host: secrets, sockets and processes that a cell must not reach, and checks that they are intact."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandbox.isolation.owned_folders import temporary_folder

SECRET = "s3cret"
ENVIRONMENT_NAME = "CODEACT_SUITE_TOKEN"
END_TIMEOUT_S = 2.0


@dataclass
class Fixtures:
    """Secrets, sockets and processes of the host, and a sibling kernel."""

    placeholders: dict[str, Any]
    """Values of {secret} {secret_name} {secret_folder} {source} {victim} {victim_name} {owner} {token} {root_home}
    {tcp} {unix} {abstract} {datagrams} {stray}, and of the sibling kernel {sibling} {sibling_file} {base}."""
    secret: Path
    victim: subprocess.Popen[bytes]
    sibling: Any = None
    process_states: dict[int, tuple[Any, ...]] = field(default_factory=dict)
    """The initial :func:`process_state` of the victim and the sibling."""

    def fill_in(self, code: str) -> str:
        """The code with its placeholders filled in."""
        for name, value in self.placeholders.items():
            code = code.replace(f"{{{name}}}", str(value))
        return code.replace("{{", "{").replace("}}", "}")

    def find_damage(self) -> str | None:
        """The damage to the host's files and processes, or None."""
        if self.victim.poll() is not None:
            return "the victim process is dead"
        stat = self.secret.stat()
        if self.secret.read_text() != SECRET or not stat.st_mode & 0o400 or stat.st_uid != os.geteuid():
            return "the secret file was changed"
        for pid, before in self.process_states.items():
            if process_state(pid) != before:
                return f"process {pid} went from {before} to {process_state(pid)}"
        return None

    async def find_leftovers(self) -> str | None:
        """A sentence if processes of a cell outlive its kernel, else None."""
        name, deadline = str(self.placeholders["stray"]).encode(), time.monotonic() + END_TIMEOUT_S
        while left := [pid for pid in _processes() if _command(pid).startswith(name)]:
            if time.monotonic() > deadline:
                return f"{len(left)} processes outlive their kernel"
            await asyncio.sleep(0.02)
        return None


@contextmanager
def create_fixtures() -> Iterator[Fixtures]:
    """Creates the fixtures, before any kernel is started, and removes them."""
    mark = f"codeact-suite-{os.getpid()}"
    with (
        temporary_folder("suite") as folder,
        subprocess.Popen([f"{mark}-victim", "3600"], executable="/bin/sleep") as victim,
        socket.socket() as tcp,
        socket.socket(socket.AF_UNIX) as unix,
        socket.socket(socket.AF_UNIX) as abstract,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams,
    ):
        secret = Path(folder, "secret")
        secret.write_text(SECRET)
        inherited = os.open(secret, os.O_RDONLY)
        os.set_inheritable(inherited, True)
        os.environ[ENVIRONMENT_NAME] = token = f"{mark}-token"
        tcp.bind(("127.0.0.1", 0))
        unix.bind(f"{folder}/socket")
        abstract.bind(f"\0{mark}")
        datagrams.bind(f"{folder}/datagrams")
        for sock in (tcp, unix, abstract):
            sock.listen()
        placeholders = {
            "secret": secret, "secret_name": "secret", "secret_folder": folder, "source": Path(__file__).resolve(),
            "victim": victim.pid, "victim_name": f"{mark}-victim", "owner": os.getpid(), "token": token,
            "tcp": tcp.getsockname()[1], "unix": f"{folder}/socket", "abstract": mark,
            "datagrams": f"{folder}/datagrams", "stray": f"{mark}-stray", "root_home": Path("~root").expanduser(),
        }  # fmt: skip
        try:
            yield Fixtures(placeholders, secret, victim)
        finally:
            victim.kill()
            os.close(inherited)
            del os.environ[ENVIRONMENT_NAME]


def process_state(pid: int) -> tuple[Any, ...]:
    """Attributes of a process that others could change: its processors, scheduling, niceness and limits."""
    try:
        limits = hash(Path(f"/proc/{pid}/limits").read_bytes())
        return (os.sched_getaffinity(pid), os.sched_getscheduler(pid), os.getpriority(os.PRIO_PROCESS, pid), limits)
    except (ProcessLookupError, FileNotFoundError):
        return ("gone",)


def resident_mib(pid: int | str = "self") -> float:
    """Resident memory of a process, in MiB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def _processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
