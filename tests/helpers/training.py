"""Training jobs.

Training runs in forked copies of this process, which has Megatron imported already: a job of four processes starts in a
second instead of twenty. OpenMP stays at one thread, because its threads do not survive a fork.
"""

import json
import sys
import traceback
from multiprocessing.process import BaseProcess
from pathlib import Path

from codeact_train import train
from codeact_train.config.train import TrainConfig
from codeact_train.distributed.fork_ranks import fork_ranks


def recipe(**changes: object) -> TrainConfig:
    """A short run that moves the loss."""
    settings = {
        "epochs": 2,
        "global_batch_packs": 4,
        "optimizer": {"lr": 3e-3, "min_lr": 3e-4, "warmup_steps": 2, "weight_decay": 0.1},
        "tensorboard": False,
        **changes,
    }
    return TrainConfig.model_validate(settings)


def _process(rank: int, config: str) -> int:
    with (Path(config).parent / f"log-{rank}.txt").open("w") as log:
        sys.stdout = sys.stderr = log
        try:
            return train.main(["--config", config])
        except Exception:
            traceback.print_exc()
            return 1


def start_job(out: Path, model: Path, corpus: Path, train: TrainConfig, world: int = 1) -> list[BaseProcess]:
    """Start training in ``world`` processes as torchrun would."""
    return fork_ranks(world, _process, str(write_job(out, model, corpus, train)))


def run_job(out: Path, model: Path, corpus: Path, train: TrainConfig, world: int = 1) -> int:
    """Train to the end; returns the exit code."""
    processes = start_job(out, model, corpus, train, world)
    for process in processes:
        process.join(timeout=240)
    stuck = [p for p in processes if p.is_alive()]
    for process in stuck:
        process.kill()
    logs = "\n".join(path.read_text() for path in sorted(out.glob("log-*.txt")))
    assert not stuck, f"the job did not end:\n{logs}"
    assert len({p.exitcode for p in processes}) == 1, logs
    assert processes[0].exitcode in (0, 2, 3, 75), logs
    return processes[0].exitcode


def write_job(out: Path, model: Path, corpus: Path, train: TrainConfig) -> Path:
    """The file a trainer is started with."""
    out.mkdir(parents=True, exist_ok=True)
    job = {"model": str(model), "corpus": str(corpus), "out": str(out), "train": train.model_dump()}
    (out / "job.json").write_text(json.dumps(job))
    return out / "job.json"


def events(out: Path, kind: str) -> list[dict]:
    """The events of one kind in a run's metrics."""
    lines = (out / "metrics.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["kind"] == kind]
