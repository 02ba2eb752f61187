"""The loop: every stage in order, resuming after an interrupt."""

from __future__ import annotations

import time

from codeact_train.prepare import check_tokenizer_settings
from launch import stages
from launch.config import LoopConfig, dump
from launch.console import done, heading, say
from launch.run_dir import RunDir


def run_loop(config: LoopConfig) -> None:
    """Collect → select → prepare → train → evaluate → report.

    Raises:
        ValueError: the input needs a correction, or another job holds the run folder; finished work is kept.
    """
    folder = RunDir(config.run)
    with folder.held():
        check_tokenizer_settings(stages.check_before_start(config), config.prepare)
        stages.check_engines(config)
        folder.write_inputs(dump(config))  # after the checks, so that a refused loop changes nothing
        say(f"run folder {config.run}; Ctrl-C stops, the same command resumes")
        _run_stages(config)


def _run_stages(config: LoopConfig) -> None:
    began = time.monotonic()
    for number, (name, stage) in enumerate(stages.STAGES.items(), 1):
        heading(f"{number}/{len(stages.STAGES)} {name}")
        started = time.monotonic()
        sentence = stage(config)
        done(sentence, time.monotonic() - started)
    say(f"the loop took {(time.monotonic() - began) / 60:.1f} minutes")
