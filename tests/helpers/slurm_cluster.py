"""A real SLURM of one node on this machine, for one test: its daemons, its state in a folder, its clients.

Needs Debian's package slurm-wlm (slurmctld, slurmd and the clients) and root. No munge and no accounting: this SLURM
trusts everybody on the machine and is gone with the test.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel")
CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
AuthType=auth/none
CredType=cred/none
CryptoType=crypto/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
GresTypes=gpu
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory_mib} Gres=gpu:1 State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def missing_programs() -> list[str]:
    """The programs and rights that are missing on this machine."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    return missing if os.geteuid() == 0 else [*missing, "root"]


class RealSlurm:
    """``with RealSlurm(folder) as site:`` has a SLURM that takes jobs."""

    def __init__(self, folder: Path) -> None:
        for name in ("state", "spool"):
            (folder / name).mkdir(parents=True)
        self.folder = folder
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
        self.daemons: list[subprocess.Popen[bytes]] = []
        memory_mib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
        values = {"host": socket.gethostname(), "ports": free_ports(2), "cpus": os.cpu_count(), "folder": folder}
        (folder / "slurm.conf").write_text(CONFIG.format(**values, memory_mib=memory_mib // 2))
        (folder / "gres.conf").write_text("Name=gpu File=/dev/null\n")  # any device: a job only sees a number
        (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")

    def __enter__(self) -> "RealSlurm":
        try:
            self._start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _start(self) -> None:
        for program in ("slurmctld", "slurmd"):
            self.daemons.append(
                subprocess.Popen(  # the daemons write their own log files
                    [program, "-D"], env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
            )
        self.wait(
            lambda: "idle" in self.call("sinfo", "--noheader", "--format=%t", check=False), "the node is idle", 60
        )

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.call("scancel", "--full", "--user=root", check=False)
        for daemon in reversed(self.daemons):
            daemon.terminate()
            daemon.wait(timeout=30)

    def call(self, *command: str, check: bool = True) -> str:
        """What a client prints."""
        return subprocess.run(command, env=self.environment, check=check, capture_output=True, text=True).stdout

    def submit(self, script: Path) -> str:
        """The number of the job."""
        return self.call("sbatch", "--parsable", str(script)).strip()

    def state(self, job: str) -> str:
        """PENDING, RUNNING, COMPLETED, …"""
        shown = self.call("scontrol", "show", "job", job)
        return shown.split("JobState=")[1].split()[0]

    def wait(self, condition: Callable[[], bool], what: str, seconds: float = 240.0) -> None:
        """Until it holds; fails with what was waited for and the daemons' last words."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                logs = "\n".join(path.read_text()[-2000:] for path in self.folder.glob("*.log"))
                raise AssertionError(f"waited {seconds:.0f} s in vain until {what}\n{logs}")
            time.sleep(0.2)


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
