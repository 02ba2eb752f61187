"""The loop: every stage in order, each resumed where it was left."""

from __future__ import annotations

import time

from launch import stages
from launch.config import LoopConfig, dump
from launch.console import done, say
from launch.run_dir import RunFolder


def run_loop(config: LoopConfig) -> None:
    """Collect → select → prepare → train → evaluate → report.

    Raises:
        ValueError: something a person has to mend; what is finished stays.
    """
    RunFolder(config.run).write_inputs(dump(config))
    say(f"run folder {config.run}; stop with Ctrl-C whenever you like, the same command goes on where it stopped")
    stages.check_before_start(config)
    began = time.monotonic()
    for number, (name, stage) in enumerate(stages.STAGES.items(), 1):
        say(f"[bold]{number}/{len(stages.STAGES)} {name}[/bold]")
        started = time.monotonic()
        sentence = stage(config)
        done(sentence, time.monotonic() - started)
    say(f"the loop took {(time.monotonic() - began) / 60:.1f} minutes")
