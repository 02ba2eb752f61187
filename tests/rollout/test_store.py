"""The bank: nothing lost, nothing half, nothing twice."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollout import store as banks
from rollout.store import TrajectoryStore, read_trajectories
from tests.helpers.episodes import record


def test_what_was_appended_is_read_back(tmp_path: Path) -> None:
    written = [record(number) for number in range(5)]
    with TrajectoryStore(tmp_path) as writer:
        for one in written:
            writer.append(one)
            assert list(read_trajectories(tmp_path))[-1] == one  # readable while it is written
    assert list(read_trajectories(tmp_path)) == written


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(1, 400))
def test_a_writer_killed_in_the_middle_of_a_record_costs_that_record_only(tmp_path: Path, cut: int) -> None:
    folder = tmp_path / f"cut-{cut}"
    with TrajectoryStore(folder) as writer:
        for number in range(2):
            writer.append(record(number))
    (shard,) = folder.glob("*.jsonl")
    shard.write_bytes(shard.read_bytes()[:-cut])
    assert list(read_trajectories(folder)) == [record(0)]
    with TrajectoryStore(folder) as writer:
        assert writer.ids == {record(0).id}
        writer.append(record(1))
    assert list(read_trajectories(folder)) == [record(0), record(1)]


def test_a_known_id_and_a_second_writer_are_refused(tmp_path: Path) -> None:
    with TrajectoryStore(tmp_path) as writer:
        writer.append(record(0))
        with pytest.raises(ValueError, match="already"):
            writer.append(record(0))
        with pytest.raises(ValueError, match="another process"):
            TrajectoryStore(tmp_path)


def test_shards_follow_one_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(banks, "SHARD_BYTES", 2000)
    for start in (0, 5):
        with TrajectoryStore(tmp_path) as writer:
            for number in range(start, start + 5):
                writer.append(record(number))
    assert len(list(tmp_path.glob("*.jsonl"))) > 2
    assert list(read_trajectories(tmp_path)) == [record(number) for number in range(10)]


def test_a_line_that_is_no_trajectory_is_named(tmp_path: Path) -> None:
    with TrajectoryStore(tmp_path) as writer:
        writer.append(record(0))
    (shard,) = tmp_path.glob("*.jsonl")
    shard.write_bytes(shard.read_bytes() + b'{"id": "x"}\n')
    with pytest.raises(ValueError, match=r"trajectories-00001.jsonl, line 2: task"):
        list(read_trajectories(tmp_path))
