"""``codeact records`` as a person meets it: looking at files, and converting them with nothing lost in silence."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from launch.cli import app

CHAT = [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello\x9b"}]
TOOL = [*CHAT, {"from": "function_call", "value": '{"name": "add", "arguments": {}}'}]
MIXED = [{"conversations": CHAT}, {"id": 7, "conversations": TOOL}, {"conversations": [CHAT[0], {"from": "gpt"}]}]


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """The verbs in a folder with ``mixed.json``: a record, one with a tool call, one without text."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mixed.json").write_text(json.dumps(MIXED))

    def run(*arguments: str) -> Any:
        result = CliRunner().invoke(app, ["records", *arguments], prog_name="codeact")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_convert_writes_what_it_reads_and_lists_the_rest(records: Callable[..., Any], tmp_path: Path) -> None:
    done = records("convert", "mixed.json", "--out", "out.jsonl")
    assert done.exit_code == 0
    assert lines(tmp_path / "out.jsonl") == [
        {
            "id": "4a9ddc7ffbce6c30",
            "conversations": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello\x9b"}],
        }
    ]
    dropped = lines(tmp_path / "out.jsonl.dropped.jsonl")
    assert [(one["file"], one["line"], one["id"], one["reason"]) for one in dropped] == [
        ("mixed.json", 2, "7", "tool_calls"),
        ("mixed.json", 3, None, "bad_record"),
    ]
    said = " ".join(done.stderr.split())
    assert "wrote 1 of 3 records, 1 tool_calls, 1 bad_record to out.jsonl" in said
    assert "mixed.json line 2 (7): turn 2 calls add" in said and "out.jsonl.dropped.jsonl" in said


def test_convert_takes_the_settings_of_prepare(records: Callable[..., Any], tmp_path: Path) -> None:
    masked = {"id": 8, "messages": [{"role": "assistant", "content": "", "train": False}, *CHAT]}
    (tmp_path / "masked.jsonl").write_text(json.dumps(masked))
    options = ("--tool-calls", "text", "--mask-key", "train=weight", "--out", "out.jsonl.gz")
    assert records("convert", "mixed.json", "masked.jsonl", *options).exit_code == 0
    with gzip.open(tmp_path / "out.jsonl.gz", "rt") as file:
        written = [json.loads(line) for line in file]
    assert [record["id"] for record in written][1:] == ["7", "8"]
    assert written[1]["conversations"][2]["content"].startswith("<tool_call>\n")
    assert written[2]["conversations"][0] == {"role": "assistant", "content": "", "weight": 0.0}


def test_what_was_converted_is_read_as_the_same_records(records: Callable[..., Any], tmp_path: Path) -> None:
    assert records("convert", "mixed.json", "--tool-calls", "text", "--out", "once.jsonl").exit_code == 0
    assert records("convert", "once.jsonl", "--out", "twice.jsonl").exit_code == 0
    assert (tmp_path / "once.jsonl").read_bytes() == (tmp_path / "twice.jsonl").read_bytes()
    assert not (tmp_path / "twice.jsonl.dropped.jsonl").exists()


def test_convert_writes_over_nothing_and_leaves_nothing_half_written(
    records: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    refused = records("convert", "mixed.json", "--out", "mine.txt")
    assert refused.exit_code == 2 and "mine.txt exists" in refused.stderr and "--replace" in refused.stderr
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert records("convert", "mixed.json", "--out", "mine.txt", "--replace").exit_code == 0
    assert len(lines(tmp_path / "mine.txt")) == 1
    before = sorted(path.name for path in tmp_path.iterdir())
    (tmp_path / "cut.gz").write_bytes(gzip.compress(json.dumps(MIXED * 99).encode())[:-20])
    (tmp_path / "none.jsonl").write_text(json.dumps(MIXED[1]))
    for source, said in (
        ("cut.gz", "cannot be decompressed"),
        ("none.jsonl", "1 tool_calls"),
        ("gone", "no such file"),
    ):
        refused = records("convert", source, "--out", "new.jsonl")
        assert refused.exit_code == 2 and said in " ".join(refused.stderr.split())
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*before, "cut.gz", "none.jsonl"])


def test_check_counts_and_fails_when_something_is_dropped(records: Callable[..., Any]) -> None:
    shown = records("check", "mixed.json")
    assert shown.exit_code == 2
    assert "mixed.json: a JSON array; 1 of 3 records, 1 tool_calls, 1 bad_record" in shown.stdout
    assert "turns: 1 user, 1 assistant; 1 without an id" in shown.stdout
    assert "dropped: mixed.json line 2 (7): turn 2 calls add" in shown.stdout
    (counted,) = json.loads(records("check", "mixed.json", "--json").stdout)
    assert counted["read"] == 3 and counted["dropped"] == {"tool_calls": 1, "bad_record": 1}


def test_show_prints_records_without_control_characters(records: Callable[..., Any]) -> None:
    shown = records("show", "mixed.json", "--count", "2")
    assert shown.exit_code == 0
    assert json.loads(shown.stdout)["conversations"][1]["content"] == "hello\x9b"
    assert "\x9b" not in shown.stdout and "line 2: turn 2 calls add" in shown.stderr


def test_a_mask_key_needs_a_meaning(records: Callable[..., Any]) -> None:
    for given in ("train", "train=maybe", "=weight"):
        refused = records("check", "mixed.json", "--mask-key", given)
        assert refused.exit_code == 2 and "KEY=weight or KEY=ignore" in refused.stderr


def test_the_home_folder_is_meant_by_a_tilde(
    records: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert records("convert", "~/mixed.json", "--out", "~/out.jsonl").exit_code == 0
    assert (tmp_path / "out.jsonl").is_file()
    assert not (tmp_path / "~").exists()
