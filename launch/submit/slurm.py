"""The SLURM script of a training job.

Contract: one agent of torchrun a node, all meeting at the first; five minutes before the time limit each training
process gets SIGUSR1, saves and ends with 75, on which the script puts the job back into the queue and the next start
goes on from the checkpoint. The configuration is frozen into a file beside the script, so what was planned is what
runs. ``sbatch`` itself is never called.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from codeact_train.plan import Cluster
from launch.config import LoopConfig, dump
from launch.config.launch import LaunchConfig
from rollout import write_atomically

GRACE_S = 300
"""Seconds before the time limit at which the job is asked to save."""


def on(cluster: Cluster, place: LaunchConfig) -> LaunchConfig:
    """Where a job runs that fills a cluster."""
    return place.model_copy(update={"nodes": cluster.nodes, "processes": cluster.gpus_per_node})


def script(config: LoopConfig, cluster: Cluster, train: str) -> str:
    """The text of the script; ``train`` is what stands behind ``codeact train`` in it."""
    templates = Environment(loader=PackageLoader("launch.submit"), undefined=StrictUndefined, trim_blocks=True)
    return templates.get_template("train.sbatch").render(
        name=config.run.name,
        cluster=cluster,
        slurm=config.launch.slurm,
        grace_s=GRACE_S,
        folder=shlex.quote(str(Path.cwd())),
        log=(config.run / "logs" / "slurm-%j.log").as_posix(),
        python=shlex.quote(sys.executable),
        train=train,
    )


def write_script(config: LoopConfig, cluster: Cluster) -> Path:
    """Freeze the configuration and write the script that trains it; returns the script."""
    frozen = config.run / "train.yaml"
    write_atomically(frozen, dump(config))
    path = config.run / "train.sbatch"
    write_atomically(path, script(config, cluster, shlex.quote(str(frozen))))
    (config.run / "logs").mkdir(exist_ok=True)  # SLURM does not make the folder of its log
    return path
