"""A run that was stopped, killed or asked to end goes on as if nothing had been."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codeact_train import trainer
from codeact_train.system.exit_codes import BAD_CONFIG, STOPPED
from tests.helpers.runs import outcome
from tests.helpers.training import events, recipe, run_job, start_job, write_job


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory, model: Path, corpus: Path) -> tuple[list[dict], list[str]]:
    out = tmp_path_factory.mktemp("unbroken")
    assert run_job(out, model, corpus, recipe()) == 0
    return outcome(out)


def test_stop_and_resume_is_bit_for_bit(
    tmp_path: Path, model: Path, corpus: Path, unbroken: tuple[list[dict], list[str]]
) -> None:
    assert run_job(tmp_path, model, corpus, recipe(stop_after_steps=2)) == STOPPED
    assert (tmp_path / "checkpoints" / "latest").read_text() == "step-000002"
    assert run_job(tmp_path, model, corpus, recipe()) == 0
    assert outcome(tmp_path) == unbroken


def test_stop_and_resume_with_a_shared_optimizer(tmp_path: Path, model: Path, corpus: Path) -> None:
    parallel = {"distributed_optimizer": True}
    assert run_job(tmp_path / "whole", model, corpus, recipe(parallel=parallel), world=2) == 0
    assert run_job(tmp_path / "halves", model, corpus, recipe(parallel=parallel, stop_after_steps=2), world=2) == 75
    assert run_job(tmp_path / "halves", model, corpus, recipe(parallel=parallel), world=2) == 0
    assert outcome(tmp_path / "halves") == outcome(tmp_path / "whole")


def wait_for(out: Path, text: str, times: int, alive: Callable[[], bool]) -> None:
    """Return once ``text`` stands so many times in the metrics, or the job has ended."""
    metrics = out / "metrics.jsonl"
    while alive() and not (metrics.exists() and metrics.read_text().count(text) >= times):
        time.sleep(0.005)


def test_kill_and_sigterm_lose_nothing(
    tmp_path: Path, model: Path, corpus: Path, unbroken: tuple[list[dict], list[str]]
) -> None:
    (killed,) = start_job(tmp_path, model, corpus, recipe(checkpoint={"every_steps": 1}))
    wait_for(tmp_path, '"kind": "step"', 2, killed.is_alive)
    killed.kill()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    config = write_job(tmp_path, model, corpus, recipe(checkpoint={"every_steps": 1}))
    asked = subprocess.Popen(
        [sys.executable, "-m", "codeact_train", "--config", str(config)],
        env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_for(tmp_path, '"kind": "start"', 2, lambda: asked.poll() is None)
    asked.send_signal(signal.SIGTERM)
    _, said = asked.communicate(timeout=240)
    assert asked.returncode == STOPPED, said
    assert "start the same job again" in said
    assert run_job(tmp_path, model, corpus, recipe()) == 0
    assert outcome(tmp_path) == unbroken
    assert not list((tmp_path / "checkpoints").glob("*.building"))


def test_a_scheduler_that_says_time_is_running_out_gets_a_checkpoint(tmp_path: Path, model: Path, corpus: Path) -> None:
    (job,) = start_job(tmp_path, model, corpus, recipe(epochs=50))
    wait_for(tmp_path, '"kind": "step"', 2, job.is_alive)
    assert job.pid
    os.kill(job.pid, signal.SIGUSR1)
    job.join(timeout=240)
    assert job.exitcode == STOPPED
    assert (tmp_path / "checkpoints" / "latest").read_text().endswith(f"{events(tmp_path, 'step')[-1]['step']:06}")


def test_processes_ask_one_another_once_a_step_whether_to_stop(
    tmp_path: Path, model: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, any_rank = tmp_path / "asked", trainer.any_rank

    def counting(*arguments: Any) -> bool:
        with asked.open("a") as file:
            file.write("?")
        return any_rank(*arguments)

    monkeypatch.setattr(trainer, "any_rank", counting)
    assert run_job(tmp_path / "run", model, corpus, recipe(epochs=1)) == 0
    assert len(asked.read_text()) == len(events(tmp_path / "run", "step"))


def test_another_recipe_is_refused(tmp_path: Path, model: Path, corpus: Path) -> None:
    assert run_job(tmp_path, model, corpus, recipe(stop_after_steps=1)) == STOPPED
    assert run_job(tmp_path, model, corpus, recipe(seed=1)) == BAD_CONFIG
    assert "train.seed=1 (checkpoint: 0); recipe=" in (tmp_path / "log-0.txt").read_text()


def test_a_finished_run_has_nothing_to_do(tmp_path: Path, model: Path, corpus: Path) -> None:
    assert run_job(tmp_path, model, corpus, recipe(epochs=1, tensorboard=True)) == 0
    assert list((tmp_path / "tensorboard").glob("events.*"))
    before = (tmp_path / "exports" / "epoch-1" / "model.safetensors").stat().st_mtime_ns
    assert run_job(tmp_path, model, corpus, recipe(epochs=1)) == 0
    assert (tmp_path / "exports" / "epoch-1" / "model.safetensors").stat().st_mtime_ns == before


def test_a_first_checkpoint_that_was_never_named_is_gone_on_from(
    tmp_path: Path, model: Path, corpus: Path, unbroken: tuple[list[dict], list[str]]
) -> None:
    """A job can die between the two."""
    assert run_job(tmp_path, model, corpus, recipe(stop_after_steps=2)) == STOPPED
    (tmp_path / "checkpoints" / "latest").unlink()
    assert run_job(tmp_path, model, corpus, recipe()) == 0
    assert [event["step"] for event in events(tmp_path, "start")] == [0, 2]
    assert outcome(tmp_path) == unbroken
