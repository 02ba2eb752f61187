"""The options ``--plan``, ``--plan --validate`` and ``--slurm`` of ``codeact train``."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict

from codeact_train.plan import compare, missed
from launch.config import LoopConfig
from launch.console import done, say
from launch.plan.dry_run import dry_run
from launch.plan.make import make_plan, named_cluster
from launch.plan.show import show_plan, show_published
from launch.run_dir import RunDir
from launch.stages import check_before_start
from launch.submit import slurm


def check_options(*, plan: bool, slurm: bool, of_plan: dict[str, bool]) -> None:
    """Refuses options that have no effect without ``--plan``, and ``--plan`` with ``--slurm``."""
    idle = [option for option, given in of_plan.items() if given]
    if idle and not plan:
        raise ValueError(f"train: {', '.join(idle)} needs --plan; add --plan, or remove it to train")
    if plan and slurm:
        raise ValueError("train: --plan shows the SLURM script, --slurm writes it; give one of them")


def plan(config: LoopConfig, given: str, packs: int | None, *, as_json: bool, with_dry_run: bool) -> None:
    """Prints a plan of ``config``, whose command line was ``given``; then tries it with a tiny model."""
    made = make_plan(config, given, packs)
    if as_json:
        print(json.dumps(made.as_json(), indent=1))
    else:
        show_plan(made)
    if with_dry_run:
        done(dry_run(made.spec, config.train))


def check_cost_model(as_json: bool) -> int:
    """Prints published runs and the cost model's figures; returns 1 if it misses a fitted run, else 0."""
    compared = compare()
    if as_json:
        print(json.dumps([{**asdict(one), "ratio": one.ratio, "within": one.within} for one in compared], indent=1))
    else:
        show_published(compared)
    missed_runs = missed(compared)
    if missed_runs:
        say(f"the cost model misses {', '.join(missed_runs)}")
    return 1 if missed_runs else 0


def write_script(config: LoopConfig) -> str:
    """Writes the SLURM script of ``config`` and returns a sentence; refuses a job that could not start."""
    cluster = named_cluster(config)
    check_before_start(config.model_copy(update={"launch": slurm.fill_cluster(cluster, config.launch)}))
    RunDir(config.run).claim()
    return f"submit it with: sbatch {shlex.quote(str(slurm.write_script(config, cluster)))}"
