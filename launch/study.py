"""Studies of a configuration: finds the models, serves those whose weights are here, and writes the tables.

Contract: what is measured is below ``eval/study`` of the run folder; the same command resumes. The other stages neither
read nor change it.
"""

from __future__ import annotations

import json
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from eval import ActionStudy, CheckpointRef, measure_actions
from launch.config import LoopConfig
from launch.run_dir import RunDir
from launch.stages import base_checkpoint, exported, judge_of, running_servers, serving
from rollout import ray_session, write_atomically
from rollout.engines import ServerSpec
from rollout.servers import folder_digest


def study_actions(config: LoopConfig) -> ActionStudy:
    """Measures the models of ``study`` in code, JSON and text; writes ``actions.md`` and ``actions.json``.

    Raises:
        ValueError: a model cannot be found, or as :func:`eval.measure_actions` raises.
    """
    out = RunDir(config.run).evaluation / "study"
    checkpoints = [_checkpoint(name, config) for name in config.study.models if name not in config.engines]
    servers = running_servers(config, [name for name in config.study.models if name in config.engines])
    with ExitStack() as running:

        def session() -> None:
            running.enter_context(ray_session(config.ray.address))

        def served(checkpoint: CheckpointRef) -> AbstractContextManager[ServerSpec]:
            session()
            return serving(config, checkpoint)

        study = measure_actions(
            config.study,
            config.evaluate,
            checkpoints,
            servers,
            out,
            served,
            session,
            config.serve.description(),
            judge_of(config),
        )
    write_atomically(out / "actions.md", study.markdown())
    write_atomically(out / "actions.json", json.dumps(study.as_json(), indent=1) + "\n")
    return study


def _checkpoint(name: str, config: LoopConfig) -> CheckpointRef:
    """The checkpoint that an entry of ``study.models`` names."""
    if name == "base":
        return base_checkpoint(config)
    exports = exported(config.run)
    if name == "trained":
        if not exports:
            raise ValueError(
                f"study.models: trained: no export in {RunDir(config.run).exports}; run `codeact train` first"
            )
        return exports[-1].model_copy(update={"name": "trained"})
    if found := [export for export in exports if export.name == name]:
        return found[0]
    folder = Path(name).expanduser()
    if (folder / "config.json").is_file():
        return CheckpointRef(name=folder.name, digest=folder_digest(folder), epoch=0, path=str(folder))
    if of_run := exported(folder):
        return of_run[-1].model_copy(update={"name": folder.name})
    known = ", ".join(["base", "trained", *(export.name for export in exports), *config.engines])
    raise ValueError(
        f"study.models: {name!r} is none of {known}, and no folder of a model or of a run with an export; correct it"
    )
