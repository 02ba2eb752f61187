"""Records named by file, or as a split of a data set in a folder; the hub differs only in who keeps the folder."""

import json
from pathlib import Path
from typing import Any

import pytest

from codeact_train.config.prepare import PrepareConfig
from codeact_train.data.records import Record, parse, read_lines
from launch.inputs.resolve_records import on_this_machine, resolve_records


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of two splits, laid out as the hub does."""
    from datasets import Dataset

    folder = tmp_path_factory.mktemp("sets") / "code-act"
    (folder / "data").mkdir(parents=True)
    for split, count in (("codeact", 3), ("general", 2)):
        turns = [{"role": "user", "content": "ünï\n"}, {"role": "assistant", "content": "<execute>1</execute>"}]
        rows = [{"id": f"{split}/{n}", "conversations": turns} for n in range(count)]
        Dataset.from_list(rows).to_parquet(folder / "data" / f"{split}-00000-of-00001.parquet")
    return folder


def test_a_split_becomes_a_file_of_records(folder: Path, tmp_path: Path) -> None:
    path = resolve_records(f"{folder}:general", tmp_path)
    records: list[Any] = [parse(line) for _, line in read_lines(path)]
    assert all(isinstance(item, Record) for item in records)
    assert [item.id for item in records] == ["general/0", "general/1"]
    assert records[0].conversations[0].content == "ünï\n"


def test_saved_data_sets_are_named_by_folder_and_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from datasets import Dataset, DatasetDict

    row = {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}
    one = Dataset.from_list([row])
    DatasetDict({"train": one}).save_to_disk(tmp_path / "one")
    DatasetDict({"train": one, "test": one}).save_to_disk(tmp_path / "two")
    one.save_to_disk(tmp_path / "plain")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve_records("~/one", tmp_path) == tmp_path / "one" / "train"
    assert resolve_records("~/two:test", tmp_path) == tmp_path / "two" / "test"
    assert resolve_records(f"{tmp_path}/plain", tmp_path) == tmp_path / "plain"
    with pytest.raises(ValueError, match="no such split; the saved data set has train, test"):
        resolve_records("~/two:dev", tmp_path)
    config = PrepareConfig.model_validate({"sources": [{"path": "~/one"}, {"path": "~/two:test"}]})
    found = on_this_machine(config).sources
    assert [source.path for source in found] == [str(tmp_path / "one" / "train"), str(tmp_path / "two" / "test")]
    assert [source.name for source in found] == ["one", "two:test"]


def test_files_and_this_runs_own_records_stay_what_they_are(tmp_path: Path) -> None:
    file = tmp_path / "odd:name.jsonl"
    file.write_text("{}\n")
    config = PrepareConfig.model_validate({"sources": [{"path": str(file)}, {"name": "own"}, {"path": "gone.jsonl"}]})
    assert on_this_machine(config) == config


def test_what_cannot_be_had_is_said_in_a_sentence(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"path='.*code-act:nosuch': cannot be loaded .*check name, split"):
        resolve_records(f"{folder}:nosuch", tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    (other / "train.jsonl").write_text(json.dumps({"text": "no conversation"}) + "\n")
    with pytest.raises(ValueError, match="no column conversations or messages or conversation, but text"):
        resolve_records(f"{other}:train", tmp_path)
    assert not list(tmp_path.glob("records/*"))
