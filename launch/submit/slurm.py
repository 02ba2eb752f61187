"""The SLURM script of a training job.

Contract: the script starts one torchrun agent a node, with the rendezvous on the first. Five minutes before the time
limit each training process gets SIGUSR1, saves and exits with 75; the script then requeues the job, and the next start
resumes from the checkpoint. The resolved configuration is written beside the script, so that later edits of the recipe
do not change the job. ``sbatch`` is never called.
"""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from codeact_train.plan import Cluster
from launch.config import LoopConfig, dump
from launch.config.launch import LaunchConfig
from rollout import write_atomically

GRACE_S = 300
"""Seconds before the time limit at which SLURM signals the job to save."""


def fill_cluster(cluster: Cluster, launch: LaunchConfig) -> LaunchConfig:
    """The settings with every GPU of the cluster used."""
    return launch.model_copy(update={"nodes": cluster.nodes, "processes": cluster.gpus_per_node})


def script(config: LoopConfig, cluster: Cluster, train: str) -> str:
    """The text of the script; ``train`` are the arguments of its ``codeact train``."""
    templates = Environment(loader=PackageLoader("launch.submit"), undefined=StrictUndefined, trim_blocks=True)
    templates.filters["option"] = option
    return templates.get_template("train.sbatch").render(
        name=config.run.name,
        cluster=cluster,
        slurm=config.launch.slurm,
        grace_s=GRACE_S,
        folder=str(Path.cwd()),
        log=f"{(config.run / 'logs').as_posix().replace('%', '%%')}/slurm-%j.log",  # %% is a percent sign to SLURM
        python=shlex.quote(sys.executable),
        train=train,
    )


def option(value: object) -> str:
    """The value of an option in a line ``#SBATCH --name=value``.

    ``sbatch`` reads these lines, not a shell: a backslash escapes also within quotes, and ``#`` outside begins a
    comment.

    Raises:
        ValueError: the value has a line break, which such a line cannot hold.
    """
    text = str(value)
    if "\n" in text or "\r" in text:
        raise ValueError(f"launch: {text!r} has a line break, which a SLURM script cannot hold; choose another name")
    if re.fullmatch(r"[\w@%+=:,./-]+", text, re.ASCII):
        return text
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def write_script(config: LoopConfig, cluster: Cluster) -> Path:
    """Writes the resolved configuration and the script that trains it; returns the script's path."""
    frozen = config.run / "train.yaml"
    write_atomically(frozen, dump(config))
    path = config.run / "train.sbatch"
    write_atomically(path, script(config, cluster, shlex.quote(str(frozen))))
    (config.run / "logs").mkdir(exist_ok=True)  # SLURM does not create the folder of its log
    return path
