"""What a save writes is what was trained, whenever it is written; a save that is not is refused; old ones go."""

import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Never

import pytest

from codeact_train.backends.megatron import optimizer
from codeact_train.checkpoint import async_save, integrity
from codeact_train.checkpoint.manager import CheckpointManager
from codeact_train.checkpoint.retention import outdated
from codeact_train.config.train import CheckpointSettings
from codeact_train.observability.metrics import MetricsLog
from codeact_train.system.exit_codes import BAD_CONFIG, CORRUPT_STATE, STOPPED
from tests.helpers.full_disk import largest_file
from tests.helpers.runs import fingerprints, outcome, reads_and_writes
from tests.helpers.training import events, recipe, run_job, start_job


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory, model: Path, corpus: Path) -> Path:
    out = tmp_path_factory.mktemp("whole")
    assert run_job(out, model, corpus, recipe(checkpoint={"every_steps": 1, "keep": 9, "asynchronous": False})) == 0
    return out


def test_a_save_holds_its_own_step_even_when_written_late(
    tmp_path: Path, model: Path, corpus: Path, unbroken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, write, step = threading.Semaphore(0), async_save._write_bucket, optimizer.step
    calls = []

    def counting(*arguments: Any) -> Any:
        calls.append(1)
        norm = step(*arguments)
        if len(calls) >= 3:
            taken.release(9)
        return norm

    monkeypatch.setattr(optimizer, "step", counting)
    monkeypatch.setattr(async_save, "_write_bucket", lambda *own: taken.acquire(timeout=60) and write(*own))
    assert run_job(tmp_path, model, corpus, recipe(checkpoint={"every_steps": 2, "keep": 9})) == 0
    assert fingerprints(tmp_path, 2) == fingerprints(unbroken, 2)
    assert outcome(tmp_path) == outcome(unbroken)
    saves = events(tmp_path, "checkpoint")
    assert [save["step"] for save in saves] == [2, 3, 4, 6]
    assert all(save["waited_s"] <= save["save_s"] for save in saves)


SHARED = {"distributed_optimizer": True}
LAYOUTS = [
    ({"parallel": {**SHARED, "overlap": True}}, 2),
    ({}, 1),
    ({"parallel": {"tensor": 2, "sequence_parallel": True}}, 2),
    ({"parallel": {"pipeline": 2, **SHARED}}, 4),
    ({"parallel": {"context": 2}}, 2),
    ({"parallel": {"tensor": 2, **SHARED}}, 4),
    ({}, 1),
]


@pytest.mark.parametrize(
    ("precision", "layouts"),
    [("fp32", LAYOUTS), pytest.param("bf16", [*LAYOUTS[:2], *LAYOUTS[5:]], marks=pytest.mark.slow)],
)
def test_any_layout_loads_any_other(tmp_path: Path, model: Path, corpus: Path, precision: str, layouts: Any) -> None:
    """Bit for bit: weights, moments and main weights. What changed places would show in the steps that follow."""
    settings = {"epochs": 2, "global_batch_packs": 1, "precision": precision, "startup_checks": ()}
    last = reads_and_writes(tmp_path / "chain", model, corpus, layouts, settings)
    go_on = recipe(**settings, stop_after_steps=last + 2, guard={"skip_steps": list(range(2, last + 1))})
    for out in ("chain", "alone"):
        assert run_job(tmp_path / out, model, corpus, go_on) == STOPPED
    after, wanted = ([e["loss"] for e in events(tmp_path / out, "step")] for out in ("chain", "alone"))
    assert len(after) == 3
    assert after == pytest.approx(wanted, rel=2e-5 if precision == "fp32" else 5e-3)


@pytest.mark.parametrize(
    ("defect", "said"),
    [
        ("stale", "bit for bit what was saved 1 step(s) ago"),
        ("torn", "differs from what was in memory"),
        ("empty", "is missing"),
    ],
)
def test_an_unsound_save_ends_the_job_and_replaces_nothing(
    tmp_path: Path, model: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch, defect: str, said: str
) -> None:
    job = recipe(checkpoint={"every_steps": 1, "keep": 9})
    assert run_job(tmp_path, model, corpus, recipe(stop_after_steps=1, checkpoint={"keep": 9})) == STOPPED
    if defect == "stale":  # the optimizer no longer reaches the weights, though its moments move
        monkeypatch.setattr(optimizer, "step", without_weights(optimizer.step))
    elif defect == "torn":
        write = async_save._copied
        monkeypatch.setattr(async_save, "_copied", lambda tensors: [(i, t * 0) for i, t in write(tensors)])
    else:
        monkeypatch.setattr(integrity, "fingerprint", skipping_the_first(integrity.fingerprint))
    assert end_of(tmp_path, model, corpus, job) == CORRUPT_STATE
    assert said in (tmp_path / "log-0.txt").read_text()
    assert (tmp_path / "checkpoints" / "latest").read_text() == "step-000001"
    monkeypatch.undo()
    assert run_job(tmp_path, model, corpus, job) == 0


def without_weights(step: Any) -> Callable[..., Any]:
    def stepping(own: Any, lr: Any) -> Any:
        before = [p.detach().clone() for p in own.get_parameters()]
        norm = step(own, lr)
        for parameter, value in zip(own.get_parameters(), before, strict=True):
            parameter.data.copy_(value)
        return norm

    return stepping


def skipping_the_first(of: Any) -> Callable[..., Any]:
    """Fingerprints without the first weight for what is read back, complete ones for live weights."""
    return lambda parts: dict(list(of(parts).items())[threading.current_thread() is not threading.main_thread() :])


def end_of(out: Path, model: Path, corpus: Path, job: Any) -> Any:
    (process,) = start_job(out, model, corpus, job)
    process.join(timeout=240)
    return process.exitcode


def test_a_full_disk_ends_the_job_and_replaces_nothing(
    tmp_path: Path, model: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_job(tmp_path, model, corpus, recipe(stop_after_steps=1)) == STOPPED

    def no_space(*_: Any) -> Never:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(async_save, "_write_bucket", no_space)
    assert end_of(tmp_path, model, corpus, recipe(stop_after_steps=2)) == BAD_CONFIG
    said = (tmp_path / "log-0.txt").read_text()
    assert said.count("step-000002.building: the disk is full (") == 1 and "Traceback" not in said
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["latest", "step-000001"]
    monkeypatch.undo()
    assert run_job(tmp_path, model, corpus, recipe(stop_after_steps=2)) == STOPPED


@pytest.mark.parametrize("what", ["checkpoints", "exports"])
def test_a_file_that_cannot_grow_is_named_and_leaves_nothing(
    tmp_path: Path, model: Path, corpus: Path, what: str
) -> None:
    one_step = recipe(epochs=1, global_batch_packs=99, optimizer={"lr": 3e-3})  # its export comes before its save
    job = recipe(checkpoint={"every_steps": 1}) if what == "checkpoints" else one_step
    with largest_file(16 * 1024):
        (process,) = start_job(tmp_path, model, corpus, job)
        process.join(timeout=240)
    said = (tmp_path / "log-0.txt").read_text()
    assert process.exitcode == BAD_CONFIG, said
    assert "Traceback" not in said and said.count("trainer: ") == 1
    assert (f"{tmp_path}/{what}/" in said and "; free some space" in said) or "`ulimit -f`" in said
    assert not list(tmp_path.rglob("*.building")) and not list(tmp_path.rglob("latest"))
    assert run_job(tmp_path, model, corpus, job) == 0


def test_the_processes_that_a_failed_one_leaves_behind_end_without_a_traceback(
    tmp_path: Path, model: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*_: Any, **__: Any) -> Never:
        raise OSError(28, "No space left on device", "metrics.jsonl")

    monkeypatch.setattr(MetricsLog, "write", no_space)  # the main process alone has one
    processes = start_job(tmp_path, model, corpus, recipe(), world=2)
    for process in processes:
        process.join(timeout=240)
    assert [process.exitcode for process in processes] == [BAD_CONFIG, 1]
    assert "trainer: metrics.jsonl: the disk is full" in (tmp_path / "log-0.txt").read_text()
    said = (tmp_path / "log-1.txt").read_text()
    assert said == "trainer: another process of this job has ended; its message has the reason\n"


CUTS = {
    "meta.json": 10, "metadata.json": 1, "common.pt": 100, ".metadata": 50, "__0_0.distcp": 4000, "__0_1.distcp": 0,
}  # fmt: skip


@pytest.mark.parametrize("name", CUTS)
def test_a_cut_file_is_named_and_the_checkpoint_before_it_is_used(
    tmp_path: Path, model: Path, corpus: Path, unbroken: Path, name: str
) -> None:
    out = shutil.copytree(unbroken, tmp_path / "run")
    cut = out / "checkpoints" / "step-000006" / name
    if not cut.is_file():
        pytest.skip(f"this version of Megatron-Core writes no {name}")
    os.truncate(cut, CUTS[name])
    job = recipe(checkpoint={"every_steps": 1, "keep": 9, "asynchronous": False}, startup_checks=())
    assert run_job(out, model, corpus, job) == 0
    said = (out / "log-0.txt").read_text()
    assert f"notice: checkpoint {cut.parent}: {name}" in said and "step-000005 is used" in said
    assert outcome(out) == outcome(unbroken)
    assert fingerprints(out, 6) == fingerprints(unbroken, 6)


def test_a_run_whose_only_checkpoint_is_cut_does_not_start_over_in_silence(
    tmp_path: Path, model: Path, corpus: Path
) -> None:
    assert run_job(tmp_path, model, corpus, recipe(stop_after_steps=1)) == STOPPED
    os.truncate(tmp_path / "checkpoints" / "step-000001" / ".metadata", 50)
    assert run_job(tmp_path, model, corpus, recipe()) == BAD_CONFIG
    assert "step-000001: .metadata is cut off, and there is no whole one" in (tmp_path / "log-0.txt").read_text()


@pytest.mark.parametrize("parallel", [{"tensor": 2}, {"distributed_optimizer": True}])
def test_a_save_of_several_processes_prints_nothing(
    tmp_path: Path, model: Path, corpus: Path, parallel: dict[str, Any]
) -> None:
    assert run_job(tmp_path, model, corpus, recipe(parallel=parallel, stop_after_steps=1), world=2) == STOPPED
    assert (tmp_path / "log-1.txt").read_text() == ""
    assert "{" not in (tmp_path / "log-0.txt").read_text()


def test_what_is_kept() -> None:
    losses = {2: None, 4: 0.5, 6: None, 8: 0.3, 10: None, 12: 0.4, 14: None}
    assert outdated(losses, CheckpointSettings(keep=1)) == [2, 4, 6, 8, 10, 12]
    assert outdated(losses, CheckpointSettings(keep=2)) == [2, 4, 6, 8, 10]
    assert outdated(losses, CheckpointSettings(keep_every_steps=4)) == [2, 6, 10]
    assert outdated(losses, CheckpointSettings(keep_best=True)) == [2, 4, 6, 10, 12]


def test_the_best_checkpoint_stays(tmp_path: Path, model: Path, corpus: Path) -> None:
    rising = {"lr": 0.5, "min_lr": 0.5, "warmup_steps": 0}
    job = recipe(epochs=3, optimizer=rising, checkpoint={"keep": 1, "keep_best": True})
    assert run_job(tmp_path, model, corpus, job) == 0
    losses = {event["step"]: event["loss"] for event in events(tmp_path, "validation")}
    wanted = {min(losses, key=losses.__getitem__), max(losses)}
    assert {int(path.name[5:]) for path in (tmp_path / "checkpoints").glob("step-*")} == wanted


def test_a_checkpoint_of_an_older_form_is_refused(tmp_path: Path, model: Path, corpus: Path) -> None:
    assert run_job(tmp_path, model, corpus, recipe(stop_after_steps=1)) == STOPPED
    meta = tmp_path / "checkpoints" / "step-000001" / "meta.json"
    meta.write_text(json.dumps(json.loads(meta.read_text()) | {"schema": 1}))
    assert run_job(tmp_path, model, corpus, recipe()) == BAD_CONFIG
    assert "schema=" in (tmp_path / "log-0.txt").read_text()


def test_without_the_newest_the_one_before_is_gone_on_from(tmp_path: Path) -> None:
    for step in (2, 12):
        folder = tmp_path / f"step-{step:06}"
        folder.mkdir()
        (folder / "meta.json").write_text(json.dumps({"step": step}))
    (tmp_path / "step-000020").mkdir()  # begun to be removed by hand
    (tmp_path / "latest").write_text("step-000020")
    left = CheckpointManager(tmp_path, {}, CheckpointSettings(), None).latest()
    assert left and left.path.name == "step-000012"
