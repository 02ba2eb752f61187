"""Runs of MINT as records: what is said, by whom, what of it is trained, and which tasks are held out."""

import gzip
import json
import os
from pathlib import Path

import pytest

from codeact_train.config.prepare import PrepareConfig
from codeact_train.data.corpus import Corpus
from codeact_train.data.records import Record, parse, read_lines
from codeact_train.prepare import prepare
from launch.inputs.resolve_records import on_this_machine, resolve_records

DATA = Path(os.environ.get("CODEACT_DATA", Path(__file__).parents[3] / "shared" / "data"))
REAL = DATA / "mint_trajectories" / "open.jsonl.gz"
FAILED = (
    "Observation:\n-----\nNameError        Traceback (most recent call last)\nCell In[1], line 1\nYou have 4 steps left"
)


def run(number: int, model: str = "small", success: bool = True, said: tuple[str, ...] = ()) -> dict:
    """One run: the first cell raises, the second does not, then an answer."""
    said = said or ("Assistant:\n <execute>\nprint(x)\n</execute>\n", "Assistant:\nAssistant: <execute>1</execute>")
    turns = [{"role": "user", "content": f"Task:\nWhat is {number}?"}]
    for text, reply in zip(said, (FAILED, "Observation:\n1\nYou have 3 steps left"), strict=True):
        turns += [{"role": "assistant", "content": text}, {"role": "user", "content": reply}]
    turns.append({"role": "assistant", "content": f"Assistant:\n<solution>{number}</solution>"})
    extra = {"terminate": "task_success", "actions": {"use_tool": 2}, "reference": str(number)}
    known = {"task": "sums", "task_id": str(number), "model": model, "success": success, "messages": turns}
    return {**known, **extra}


def written(path: Path, lines: list[dict | str]) -> Path:
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    return path


def made(path: Path, cache: Path) -> list:
    return [parse(raw) for _, raw in read_lines(resolve_records(str(path), cache))]


def test_a_run_becomes_a_record_that_trains_what_went_well(tmp_path: Path) -> None:
    (record,) = made(written(tmp_path / "runs.jsonl.gz", [run(7)]), tmp_path)
    assert isinstance(record, Record)
    assert (record.id, record.source, record.group) == ("sums/7/small", "sums", "sums/7")
    assert [(turn.role[0], turn.weight) for turn in record.conversations] == [
        ("u", None), ("a", 0), ("u", None), ("a", None), ("u", None), ("a", None),
    ]  # fmt: skip
    said = [turn.content for turn in record.conversations if turn.role == "assistant"]
    assert said == ["<execute>\nprint(x)\n</execute>", "<execute>1</execute>", "<solution>7</solution>"]


def test_what_the_model_made_up_or_failed_at_is_context(tmp_path: Path) -> None:
    made_up = ("Assistant: <execute>1</execute>", "Assistant: <execute>2</execute>\nObservation:\n2")
    one, other = made(written(tmp_path / "r.gz", [run(1, said=made_up), run(2, success=False)]), tmp_path)
    assert [turn.weight for turn in one.conversations if turn.role == "assistant"] == [0, 0, None]
    assert {turn.weight for turn in other.conversations if turn.role == "assistant"} == {0}


def test_each_file_of_runs_has_its_own_place_in_the_cache(tmp_path: Path) -> None:
    one, other = tmp_path / "a" / "b.gz", tmp_path / "a--b.gz"
    one.parent.mkdir()
    mine = tmp_path / "records" / f"{str(one).strip('/').replace('/', '--')}.jsonl"
    mine.parent.mkdir()
    mine.write_text("a user's")
    first, second = (made(written(path, [run(n)]), tmp_path)[0].id for n, path in enumerate((one, other)))
    assert (first, second) == ("sums/0/small", "sums/1/small")
    assert len(list((tmp_path / "records").iterdir())) == 3
    assert mine.read_text() == "a user's"
    deep = tmp_path / ("d" * 200) / ("e" * 200)
    deep.mkdir(parents=True)
    assert made(written(deep / "runs.gz", [run(2)]), tmp_path)[0].id == "sums/2/small"


def test_a_corpus_of_runs_accounts_for_every_line_and_holds_out_whole_tasks(
    tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEACT_CACHE", str(tmp_path / "cache"))
    runs = [run(number, model) for number in range(30) for model in ("small", "large")]
    path = written(tmp_path / "runs.jsonl.gz", [*runs, "{broken", run(99, success=False)])
    settings = {"sequence_length": 512, "over_long": "split", "deduplicate": "off", "validation_share": 0.3}
    config = on_this_machine(PrepareConfig.model_validate({"sources": [{"path": str(path)}], **settings}))
    ledger = prepare(tmp_path / "none", tiny_llama, tmp_path / "corpus", config)
    assert (ledger.records_read, ledger.records_kept) == (62, 60)
    assert ledger.dropped == {"not_json": 1, "nothing_trained": 1}
    assert list(ledger.files) == ["runs.jsonl.gz"] and list(ledger.sources) == ["sums"]
    sides: dict[str, set[str]] = {"train": set(), "validation": set()}
    for name in Corpus(tmp_path / "corpus").names():
        sides[name.split].add(name.id.rpartition("/")[0])
    assert sides["train"] and sides["validation"] and not sides["train"] & sides["validation"]


def test_the_published_runs_are_all_read(tmp_path: Path) -> None:
    if not REAL.is_file():
        pytest.skip(f"needs MINT's runs at {REAL} (CODEACT_DATA names another folder)")
    records = made(REAL, tmp_path)
    assert len(records) == 4877 and all(isinstance(record, Record) for record in records)
    assert len({record.id for record in records}) == 4877 and len({record.group for record in records}) == 508
    said = [turn for record in records for turn in record.conversations if turn.role == "assistant"]
    assert not any(turn.content.startswith("Assistant") for turn in said)
    assert 0.8 < sum(turn.weight is None for turn in said) / len(said) < 0.95
