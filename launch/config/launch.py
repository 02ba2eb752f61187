"""Where a training job runs: the section ``launch`` of the configuration.

Contract: settings only. ``launch.submit.torchrun`` starts processes from them, ``launch.submit.slurm`` writes a script,
and ``launch.plan`` estimates memory and time on the cluster they name.
"""

from __future__ import annotations

from pydantic import ConfigDict, Field

from codeact_train import Settings, TrainConfig, UserPath


class SlurmConfig(Settings):
    """Options of the SLURM job besides its nodes, which the cluster gives."""

    model_config = ConfigDict(coerce_numbers_to_str=True)  # a limit of 60 minutes, an account that is a number

    time: str = Field("24:00:00", pattern=r"^(\d+-)?\d+(:\d{2}){0,2}$")
    """Time limit of one start, in SLURM's format; a run may take several starts."""
    partition: str | None = None
    """Partition to queue in; null for the site's default."""
    account: str | None = None
    """Account to charge."""
    qos: str | None = None
    """Quality of service."""
    setup: tuple[str, ...] = ()
    """Shell lines run on the first node before training, such as `module load cuda`."""


class LaunchConfig(Settings):
    """Where the training job runs."""

    processes: int | None = Field(None, gt=0)
    """Training processes on this machine; null for one model replica, that is tensor x pipeline x context."""
    nodes: int = Field(1, ge=1)
    """Machines of the job; each runs the same command."""
    rendezvous: str | None = Field(None, pattern=r"^[^:]+:\d+$")
    """Rendezvous of the machines: HOST:PORT of the first one; required with `nodes` above 1."""
    cluster: UserPath | None = None
    """Cluster for `--plan` and `--slurm`: the name of a file in configs/clusters, or a path to one."""
    slurm: SlurmConfig = SlurmConfig()
    """Options of the job that `--slurm` writes."""

    def count(self, train: TrainConfig) -> int:
        """Processes on this machine."""
        return self.processes or train.parallel.replica

    def total(self, train: TrainConfig) -> int:
        """Processes on all machines."""
        return self.nodes * self.count(train)
