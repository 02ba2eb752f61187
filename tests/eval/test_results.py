"""Result files: written whole or not at all, read back equal, never taken for another's."""

from pathlib import Path

import pytest

from eval.results import (
    BenchmarkRef,
    CheckpointRef,
    EpisodeResult,
    EvalResult,
    read_results,
    result_path,
    write_result,
)
from rollout.bank.trajectory import ProtocolRef, Sampling


def episode(task_id: str, success: bool = True, error_cells: int = 0) -> EpisodeResult:
    return EpisodeResult(
        task_id=task_id,
        kind="table",
        group="trained",
        success=success,
        reason="solved" if success else "max_steps",
        cells=2,
        error_cells=error_cells,
        recovered=success and error_cells > 0,
        steps=3,
        prompt_tokens=300,
        completion_tokens=60,
        wall_s=1.5,
        trajectory_id=f"trajectory-{task_id}",
    )


def result(name: str = "base", epoch: int = 0, seed: int = 0, tasks: int = 3) -> EvalResult:
    return EvalResult(
        checkpoint=CheckpointRef(name=name, digest=f"digest-{name}", epoch=epoch, path=f"exports/{name}"),
        benchmark=BenchmarkRef(name="builtin", digest="bench", tasks=tasks),
        protocol=ProtocolRef(name="codeact", digest="protocol"),
        sampling=Sampling(),
        seed=seed,
        engine={"name": "scripted"},
        isolation="process",
        started_at="2026-08-01T00:00:00Z",
        wall_s=12.0,
        episodes=tuple(episode(f"task-{i}") for i in range(tasks)),
    )


def test_results_are_read_back_equal_and_in_epoch_order(tmp_path: Path) -> None:
    written = [result("epoch-2", 2), result("base", 0), result("epoch-1", 1), result("epoch-1", 1, seed=7)]
    for one in written:
        write_result(tmp_path, one)
    assert read_results(tmp_path) == [written[1], written[2], written[3], written[0]]
    assert read_results(tmp_path / "absent") == []


def test_the_key_depends_on_everything_that_determines_a_result_and_nothing_else() -> None:
    one = result()
    assert result().key == one.key
    assert one.model_copy(update={"wall_s": 99.0}).key == one.key
    changes = {
        "checkpoint": one.checkpoint.model_copy(update={"digest": "other"}),
        "benchmark": one.benchmark.model_copy(update={"digest": "other"}),
        "protocol": one.protocol.model_copy(update={"digest": "other"}),
        "sampling": Sampling(temperature=0.7),
        "seed": 1,
    }
    keys = {one.model_copy(update={field: value}).key for field, value in changes.items()}
    assert len(keys | {one.key}) == len(changes) + 1


def test_half_a_file_is_refused_by_name(tmp_path: Path) -> None:
    path = write_result(tmp_path, result())
    path.write_text(path.read_text()[:-40])
    with pytest.raises(ValueError, match=rf"{path.name}.*delete it"):
        read_results(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[" * 100_000, b"9" * 5000, b"null", b'{"schema": 1}'])
def test_a_file_of_anything_else_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = write_result(tmp_path, result())
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{path.name}.*delete it and evaluate again"):
        read_results(tmp_path)


def test_a_file_under_another_name_is_refused(tmp_path: Path) -> None:
    write_result(tmp_path, result()).rename(result_path(tmp_path, "0" * 16))
    with pytest.raises(ValueError, match="holds the result of key"):
        read_results(tmp_path)


def test_an_interrupted_write_leaves_nothing_and_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_result(tmp_path, result())

    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_result(tmp_path, result().model_copy(update={"wall_s": 99.0}))
    assert [r.wall_s for r in read_results(tmp_path)] == [12.0]


def test_missing_or_repeated_tasks_are_refused() -> None:
    whole = result().model_dump(by_alias=True)
    with pytest.raises(ValueError, match="2 for a benchmark of 3 tasks"):
        EvalResult.model_validate(whole | {"episodes": whole["episodes"][:2]})
    with pytest.raises(ValueError, match="'task-0' occurs 2 times"):
        EvalResult.model_validate(whole | {"episodes": whole["episodes"][:2] + whole["episodes"][:1]})
    with pytest.raises(ValueError, match="extra"):
        EvalResult.model_validate(whole | {"note": "unknown"})
