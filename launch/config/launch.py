"""Where a training job runs: the section ``launch`` of the configuration.

Contract: settings only; ``launch.submit.torchrun`` starts processes by them, ``launch.submit.slurm`` writes a script of
them, and ``launch.plan`` reckons for the cluster they name.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from codeact_train.config.train import TrainConfig


class SlurmConfig(BaseModel):
    """What SLURM is asked for beside the cluster's nodes."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        coerce_numbers_to_str=True,  # a limit of 60 minutes, an account that is a number
    )

    time: str = Field("24:00:00", pattern=r"^(\d+-)?\d+(:\d{2}){0,2}$")
    """Time limit of one start, in SLURM's own form; a run may take several."""
    partition: str | None = None
    """Partition to queue in; null for the site's default."""
    account: str | None = None
    """Account to charge."""
    qos: str | None = None
    """Quality of service."""
    setup: tuple[str, ...] = ()
    """Lines of shell run on the first node before training, such as `module load cuda`."""


class LaunchConfig(BaseModel):
    """Where the training job runs."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    processes: int | None = Field(None, gt=0)
    """Training processes on this machine; null starts as many as the layout needs (one model replica)."""
    nodes: int = Field(1, ge=1)
    """Machines of the job; each of them runs the same command."""
    rendezvous: str | None = Field(None, pattern=r"^[^:]+:\d+$")
    """Where machines meet, HOST:PORT of the first; needed with `nodes` above 1."""
    cluster: str | None = None
    """What `--plan` and `--slurm` reckon with: a file of configs/clusters by name, or a path to one."""
    slurm: SlurmConfig = SlurmConfig()
    """What `--slurm` asks for."""

    def count(self, train: TrainConfig) -> int:
        """Processes on this machine."""
        return self.processes or train.parallel.replica

    def total(self, train: TrainConfig) -> int:
        """Processes on all machines."""
        return self.nodes * self.count(train)
