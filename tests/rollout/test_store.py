"""The bank: nothing lost, nothing half, nothing twice."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from rollout.bank import store as banks
from rollout.bank.store import TrajectoryStore, read_trajectories, verify_bank
from rollout.bank.trajectory import EpisodeError, Message, Outcome, Trajectory
from tests.helpers.episodes import record
from tests.helpers.full_disk import largest_file


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


def test_each_record_that_is_done_is_shown_once_as_it_is_read_or_appended(tmp_path: Path) -> None:
    with TrajectoryStore(tmp_path) as writer:
        for one in (record(0), lost(1)):
            writer.append(one)
    shown: list[Trajectory] = []
    with TrajectoryStore(tmp_path, shown.append) as writer:
        assert shown == [record(0)]
        for one in (lost(2), record(1)):
            writer.append(one)
    assert shown == [record(0), record(1)]


def test_a_known_id_and_a_second_writer_are_refused(tmp_path: Path) -> None:
    with TrajectoryStore(tmp_path) as writer:
        writer.append(record(0))
        with pytest.raises(ValueError, match="already"):
            writer.append(record(0))
        with pytest.raises(ValueError, match="another process"):
            TrajectoryStore(tmp_path)


def test_a_record_that_does_not_fit_on_the_disk_is_named_and_leaves_no_part_of_itself(tmp_path: Path) -> None:
    with TrajectoryStore(tmp_path) as writer:
        writer.append(record(0))
        (shard,) = tmp_path.glob("*.jsonl")
        with largest_file(shard.stat().st_size + 100), pytest.raises(OSError, match="too large") as full:
            writer.append(record(1))
        assert full.value.filename == str(shard)
        assert shard.read_bytes().endswith(b"\n")
        writer.append(record(1))
    assert list(read_trajectories(tmp_path)) == [record(0), record(1)]


def test_shards_follow_one_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(banks, "SHARD_BYTES", 2000)
    for start in (0, 5):
        with TrajectoryStore(tmp_path) as writer:
            for number in range(start, start + 5):
                writer.append(record(number))
    assert len(list(tmp_path.glob("*.jsonl"))) > 2
    assert list(read_trajectories(tmp_path)) == [record(number) for number in range(10)]


def test_a_users_file_in_the_folder_is_never_written(tmp_path: Path) -> None:
    mine = tmp_path / "zebra.jsonl"
    mine.write_text('{"a line": "without its end"}')
    with TrajectoryStore(tmp_path) as writer:
        writer.append(record(0))
    assert mine.read_text() == '{"a line": "without its end"}'
    assert list(read_trajectories(tmp_path)) == [record(0)]


BAD_LINES = [
    (b'{"id": "x"}', "task: Field required"),
    (b'{"id": "x", "task": {"fam', "Invalid JSON"),
    (b"\x00\xff\xfe\x80 binary", "Invalid JSON"),
    (b"[]", "Input should be an object"),
    (b"null", "Input should be an object"),
    (b'"\\ud800"', "Invalid JSON"),
    (b"[" * 5000, "Invalid JSON"),
]


@pytest.mark.parametrize(("line", "reason"), BAD_LINES, ids=range(len(BAD_LINES)))
def test_a_bad_line_is_read_around_counted_once_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: bytes, reason: str
) -> None:
    with TrajectoryStore(tmp_path) as writer:
        writer.append(record(0))
    (shard,) = tmp_path.glob("*.jsonl")
    written = shard.read_bytes() + line + b"\n\n"
    shard.write_bytes(written)
    with TrajectoryStore(tmp_path) as writer:
        assert writer.ids == {record(0).id}
        writer.append(record(1))
    for _ in range(2):
        assert list(read_trajectories(tmp_path)) == [record(0), record(1)]
    said = capsys.readouterr().err
    assert said.count("1 line is no trajectory") == 1 and "codeact bank verify" in said
    sound, bad = verify_bank(tmp_path)
    assert sound == 2 and [(one.shard, one.number) for one in bad] == [(shard, 2)]
    assert reason in bad[0].reason
    assert shard.read_bytes().startswith(written)


def test_verify_names_cut_lines_and_repeated_ids(tmp_path: Path) -> None:
    with TrajectoryStore(tmp_path) as writer:
        writer.append(record(0))
    (shard,) = tmp_path.glob("*.jsonl")
    line = shard.read_bytes()
    (tmp_path / "trajectories-00002.jsonl").write_bytes(line + line[:100])
    sound, bad = verify_bank(tmp_path)
    assert sound == 1
    assert [(one.shard.name, one.number, one.reason.split()[-1]) for one in bad] == [
        ("trajectories-00002.jsonl", 1, "already"),
        ("trajectories-00002.jsonl", 2, "end"),
    ]


def lost(number: int) -> Trajectory:
    failed = Outcome(success=False, reward=0.0, reason="error", error=EpisodeError(kind="infra", message="gone"))
    return record(number).model_copy(update={"outcome": failed})


def test_an_episode_lost_to_the_infrastructure_is_not_done_and_its_next_record_replaces_it(tmp_path: Path) -> None:
    with TrajectoryStore(tmp_path) as writer:
        for one in (lost(0), record(1), lost(2)):
            writer.append(one)
        assert writer.ids == {record(1).id}
    with TrajectoryStore(tmp_path) as writer:
        writer.append(record(0))
        with pytest.raises(ValueError, match="already"):
            writer.append(record(0))
    assert list(read_trajectories(tmp_path)) == [record(1), lost(2), record(0)]
    assert verify_bank(tmp_path) == (4, [])


@settings(max_examples=100, deadline=None, derandomize=True)
@given(text=st.text(st.characters(), max_size=20), number=st.floats() | st.integers(-(10**30), 10**30))
def test_what_the_bank_accepts_it_can_read(text: str, number: float, tmp_path_factory: pytest.TempPathFactory) -> None:
    long = text * 2000
    turn = Message(role="assistant", kind="action", content=f"\u2028{text}\r\x00", reasoning=text)
    try:
        turn = Message.model_validate({**dict(turn), "logprobs": (number,)})
    except ValidationError:
        assert not math.isfinite(number)
    error = EpisodeError(kind="model", message=long)
    outcome = Outcome(success=False, reward=0.0, reason="error", error=error)
    written = record(0).model_copy(update={"messages": (turn,), "outcome": outcome})
    folder = tmp_path_factory.mktemp("bank")
    with TrajectoryStore(folder) as writer:
        writer.append(written)
    assert list(read_trajectories(folder)) == [written]
    assert [json.loads(line)["id"] for line in (folder / "trajectories-00001.jsonl").open("rb")] == [written.id]


def test_a_field_that_is_not_set_is_not_written() -> None:
    message = Message(role="assistant", kind="action", content="x")
    assert "reasoning" not in message.model_dump_json()
    assert json.loads(EpisodeError(kind="model", message="m", refused=True).model_dump_json()) == {
        "kind": "model",
        "message": "m",
    }
