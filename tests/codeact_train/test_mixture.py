"""Mixtures of files: how much of each an epoch holds, who is drawn, and how the ledger says so."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from codeact_train.config.prepare import PrepareConfig
from codeact_train.data.corpus import Corpus
from codeact_train.parity.toy_models import WORDS
from codeact_train.prepare import prepare
from tests.helpers.records import write_conversations


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two packed files of 60 and 20 records."""
    folder = tmp_path_factory.mktemp("mixture")
    rng = random.Random(0)
    for name, count in (("code", 60), ("talk", 20)):
        said = {f"{name}{i}": [" ".join(rng.choices(WORDS, k=9)), rng.choice(WORDS)] for i in range(count)}
        write_conversations(folder / f"{name}.jsonl.gz", said)
    return folder


def mixed(files: Path, model: Path, out: Path, code: dict, talk: dict, **settings: Any) -> Any:
    sources = [{"path": str(files / f"{name}.jsonl.gz"), **how} for name, how in (("code", code), ("talk", talk))]
    config = PrepareConfig(sequence_length=64, sources=sources, **settings)
    ledger = prepare(files / "none", model, out, config)
    assert ledger.imbalances() == []
    return ledger, Corpus(out)


def places(corpus: Corpus) -> Counter:
    """How often each record stands in the packs of training."""
    names = [name.id for name in corpus.names()]
    return Counter(names[document] for document in corpus.packs("train").document.tolist())


def test_a_repeat_is_whole_copies_and_a_seeded_part(files: Path, model: Path, tmp_path: Path) -> None:
    ledger, corpus = mixed(files, model, tmp_path / "a", {}, {"repeat": 2.4})
    times = places(corpus)
    assert {times[f"code{i}"] for i in range(60)} == {1}
    assert {times[f"talk{i}"] for i in range(20)} == {2, 3}
    assert len(corpus) == ledger.records_kept == 80
    assert ledger.documents_repeated == times.total() - 80
    assert ledger.sources["talk.jsonl.gz"]["documents"] == sum(times[f"talk{i}"] for i in range(20))
    plan = corpus.packs("train")
    assert all(len(set(plan[p].tolist())) == len(plan[p]) for p in range(len(plan))), "a pack holds a document twice"
    other = places(mixed(files, model, tmp_path / "b", {}, {"repeat": 2.4}, seed=1)[1])
    assert other != times


def test_the_draw_of_a_part_does_not_depend_on_the_rest_of_the_mixture(
    files: Path, model: Path, tmp_path: Path
) -> None:
    ledger, corpus = mixed(files, model, tmp_path / "a", {"repeat": 0.3}, {})
    drawn = {name for name in places(corpus) if name.startswith("code")}
    assert 0 < len(drawn) < 60
    assert ledger.dropped == {"mixture": 60 - len(drawn)}
    more = places(mixed(files, model, tmp_path / "b", {"repeat": 0.5}, {"repeat": 3})[1])
    assert drawn < {name for name in more if name.startswith("code")}


@pytest.mark.parametrize(("code", "talk"), [({}, {"share": 0.5}), ({"share": 0.5}, {"share": 0.5})])
def test_shares_are_of_tokens(
    files: Path, model: Path, tmp_path: Path, code: dict[str, Any], talk: dict[str, Any]
) -> None:
    ledger, _ = mixed(files, model, tmp_path / "a", code, talk)
    share = ledger.files["talk.jsonl.gz"].tokens / (ledger.train.tokens + ledger.validation.tokens)
    assert share == pytest.approx(0.5, abs=0.04)
    assert max(f.repeat for f in ledger.files.values()) > 1 or all(f.repeat <= 1 for f in ledger.files.values())
    assert (ledger.documents_repeated > 0) is ("share" not in code)


def test_files_number_their_records_each_for_itself(model: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_conversations(tmp_path / name, {str(i): [f"{name} {i}", "count"] for i in range(3)})
    sources = [{"path": str(tmp_path / name)} for name in ("one", "two")]
    ledger = prepare(tmp_path, model, tmp_path / "corpus", PrepareConfig(sources=sources))
    assert (ledger.records_kept, ledger.dropped) == (6, {})


def test_held_out_records_stand_once(files: Path, model: Path, tmp_path: Path) -> None:
    ledger, corpus = mixed(files, model, tmp_path / "a", {}, {"repeat": 3}, validation_share=0.4)
    held_out = corpus.packs("validation").document.tolist()
    assert len(set(held_out)) == len(held_out) == ledger.validation.documents > 20


def test_records_of_one_group_are_held_out_together(model: Path, tmp_path: Path) -> None:
    said = [{"role": "user", "content": "count"}, {"role": "assistant", "content": "one two"}]
    lines = [{"id": f"{task}/{run}", "group": task, "conversations": said} for task in "abcdefghij" for run in range(3)]
    (tmp_path / "records.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    settings = {"sequence_length": 64, "deduplicate": "off", "validation_share": 0.4}
    prepare(tmp_path / "records.jsonl", model, tmp_path / "corpus", PrepareConfig(**settings))
    sides: dict[str, set[str]] = {}
    for name in Corpus(tmp_path / "corpus").names():
        sides.setdefault(name.id[0], set()).add(name.split)
    assert all(len(split) == 1 for split in sides.values())
    assert set.union(*sides.values()) == {"train", "validation"}


def test_impossible_mixtures_are_named(files: Path, model: Path, tmp_path: Path) -> None:
    one = {"path": str(files / "code.jsonl.gz")}
    with pytest.raises(ValueError, match=r"repeat=2 and share=0.5 exclude each other"):
        PrepareConfig(sources=[{**one, "repeat": 2, "share": 0.5}])
    with pytest.raises(ValueError, match=r"every file has a share and they add up to 0.8; make that 1"):
        PrepareConfig(sources=[{**one, "share": 0.3}, {"share": 0.5}])
    with pytest.raises(ValueError, match=r"two files are called code.jsonl.gz; give each a distinct name"):
        prepare(files, model, tmp_path / "c", PrepareConfig(sources=[one, one]))
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    with pytest.raises(ValueError, match=r"no training tokens remain of .*empty.jsonl, which has share=0.5"):
        prepare(files, model, tmp_path / "c", PrepareConfig(sources=[one, {"path": str(empty), "share": 0.5}]))
    assert not (tmp_path / "c").exists()


def test_a_damaged_packed_file_is_named(files: Path, model: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes((files / "code.jsonl.gz").read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"cut.jsonl.gz: cannot be decompressed"):
        prepare(files, model, tmp_path / "c", PrepareConfig(sources=[{"path": str(cut)}]))


def test_a_record_in_another_file_is_another_corpus(model: Path, tmp_path: Path) -> None:
    said = {"a": ["x", "1"], "b": ["y", "2"], "c": ["z", "3"]}
    lines = write_conversations(tmp_path / "all", said).read_text().splitlines(True)
    digests = set()
    for first in (1, 2):
        (tmp_path / "one.jsonl").write_text("".join(lines[:first]))
        (tmp_path / "two.jsonl").write_text("".join(lines[first:]))
        sources = [{"path": str(tmp_path / f"{name}.jsonl"), "repeat": 2} for name in ("one", "two")]
        prepare(tmp_path, model, tmp_path / "corpus", PrepareConfig(sources=sources))
        digests.add(Corpus(tmp_path / "corpus").digest)
    assert len(digests) == 2
