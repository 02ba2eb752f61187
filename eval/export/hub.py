"""Results as ``.eval_results/NAME.yaml``, which the Hugging Face Hub shows on the page of a model.

Contract: one file a benchmark, for one checkpoint. The Hub knows a benchmark by a data set and a task of it: those of
:data:`HUB_TASKS`, or the ones that are given. Values are percentages, or mean scores where these are the figure of a
benchmark.
"""

from __future__ import annotations

from collections.abc import Mapping

import yaml

from eval.results import EvalResult
from eval.scores import mean_score

HUB_TASKS: Mapping[str, str] = {"gsm8k": "openai/gsm8k:gsm8k"}
"""Benchmark → ``OWNER/DATASET:TASK`` of the Hub."""


def hub_files(results: list[EvalResult], tasks: Mapping[str, str]) -> dict[str, str]:
    """Path below the model folder → text of each file.

    Args:
        tasks: benchmark → ``OWNER/DATASET:TASK``, before those of :data:`HUB_TASKS`.

    Raises:
        ValueError: there are results of several checkpoints or two of one benchmark, or a benchmark is not known.
    """
    names = list(dict.fromkeys(result.checkpoint.name for result in results))
    if len(names) > 1:
        raise ValueError(f"--checkpoint: a model folder holds one checkpoint; choose from {', '.join(names)}")
    files: dict[str, str] = {}
    for result in results:
        path = f".eval_results/{result.benchmark.name.replace('/', '-')}.yaml"
        if path in files:
            raise ValueError(
                f"--form hub: there are two results of {result.benchmark.name}, such as with two seeds; the Hub takes "
                "one a benchmark: export a run that has one"
            )
        files[path] = yaml.safe_dump([_entry(result, tasks)], sort_keys=False, allow_unicode=True)
    return files


def _entry(result: EvalResult, tasks: Mapping[str, str]) -> dict[str, object]:
    name = result.benchmark.name
    dataset, colon, task = {**HUB_TASKS, **tasks}.get(name, "").partition(":")
    if not colon or "/" not in dataset or not task:
        raise ValueError(
            f"--hub-task: the benchmark {name} needs the data set of its leaderboard; give --hub-task "
            f"{name}=OWNER/DATASET:TASK"
        )
    solved = sum(one.success for one in result.episodes)
    counted = "tasks" if result.benchmark.samples == 1 else f"episodes, {result.benchmark.samples} a task"
    value, notes = 100 * solved / len(result.episodes), f"{solved} of {len(result.episodes)} {counted}, in percent"
    if result.scored:
        scale = result.scale
        value = mean_score(result).mean
        notes = f"mean score of {len(result.episodes)} tasks, from {scale.low:g} to {scale.high:g}"
    return {
        "dataset": {"id": dataset, "task_id": task},
        "value": round(value, 2),
        "date": result.started_at,
        "notes": f"{notes}; protocol {result.protocol.name}, {result.decoding}",
    }
