"""What ``codeact tasks replay`` needs of a run folder: its bank, its tasks and its protocol."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from launch import config as configs
from launch.console import say

if TYPE_CHECKING:
    from rollout import EpisodeProtocol
    from rollout.checks.replay import Job


def jobs_of(folder: Path) -> tuple[list[Job], EpisodeProtocol]:
    """The trajectories of a run folder with their tasks, and the protocol of the run.

    Raises:
        ValueError: the folder has no bank or no configuration, or none of its trajectories can be replayed.
    """
    from rollout import load_tasks, read_trajectories
    from rollout.checks.replay import bank_jobs

    if not (folder / "bank").is_dir() or not (folder / "config.yaml").is_file():
        raise ValueError(f"tasks replay: {folder} has no bank/ and config.yaml; give a run folder, such as runs/demo")
    config = configs.load(folder / "config.yaml", [])
    tasks = [task for source in config.collect.sources for task in load_tasks(source.tasks)]
    jobs, others = bank_jobs(read_trajectories(folder / "bank"), tasks, config.protocol)
    for reason, number in others.most_common():
        say(f"not replayed: {number} trajectories ({reason})")
    if not jobs:
        raise ValueError(f"tasks replay: {folder}/bank has no trajectory that can be replayed; see the reasons above")
    return jobs, config.protocol


def refuse_bank_filters(
    files: Sequence[Path], graders_only: bool, limit: int | None, family: Sequence[str] | None
) -> None:
    """Raises ValueError for options that a run folder does not take."""
    if len(files) > 1:
        raise ValueError("tasks replay: give one run folder, or files of recorded runs, not both")
    if graders_only or limit or family:
        raise ValueError(
            "tasks replay: --graders-only, --limit and --family are for files of recorded runs; for a bank use "
            "`codeact bank regrade`"
        )
