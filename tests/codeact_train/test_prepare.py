"""From records to a corpus: nothing is lost without a reason, nothing half-made is taken for whole."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from megatron.core.datasets.indexed_dataset import IndexedDataset

from codeact_train.config.prepare import PrepareConfig
from codeact_train.data.corpus import Corpus
from codeact_train.data.tokenizer import CHATML
from codeact_train.prepare import prepare
from tests.helpers.records import write_conversations, write_records

WIDE = PrepareConfig(sequence_length=320)


def test_the_corpus_holds_what_the_ledger_says(tmp_path: Path, model: Path) -> None:
    records = write_records(tmp_path / "records.jsonl", 40)
    ledger = prepare(records, model, tmp_path / "corpus", PrepareConfig(sequence_length=320, validation_share=0.25))
    corpus = Corpus(tmp_path / "corpus")
    assert ledger.imbalances() == []
    assert ledger == corpus.ledger
    assert ledger.records_kept == len(corpus) == 40
    assert ledger.tokens_read == corpus.lengths.sum()
    assert ledger.train.trained == sum(
        int((corpus.document(d).weights > 0).sum()) for d in corpus.packs("train").document.tolist()
    )
    assert {n.id for n in corpus.names()} == {f"r{i}" for i in range(40)}
    assert 0 < ledger.validation.documents < 20
    plan = corpus.packs("train")
    totals = [int((corpus.lengths[plan[p]] - 1).sum()) for p in range(len(plan))]
    assert max(totals) <= 320
    assert corpus.pack_weights("train").sum() == ledger.train.trained


def test_unreadable_records_are_counted_and_named(tmp_path: Path, model: Path) -> None:
    path = write_records(tmp_path / "records.jsonl", 3)
    with path.open("a") as file:
        file.write("{broken\n")
        file.write(json.dumps({"id": "tool", "conversations": [{"role": "tool", "content": "x"}]}) + "\n")
        file.write(json.dumps({"id": "r0", "conversations": [{"role": "assistant", "content": "x"}]}) + "\n")
        file.write(json.dumps({"id": "mute", "conversations": [{"role": "user", "content": "x"}]}) + "\n")
        weighted = [{"role": "user", "content": "x", "weight": 1.0}, {"role": "assistant", "content": "y"}]
        file.write(json.dumps({"id": "heavy", "conversations": weighted}) + "\n")
        file.write('{"id": "half", "conv')
    ledger = prepare(path, model, tmp_path / "corpus", WIDE)
    assert (ledger.records_read, ledger.records_kept) == (9, 3)
    assert {(d.line, d.id, d.reason) for d in ledger.dropped_records} == {
        (4, None, "not_json"),
        (5, "tool", "tool_calls"),
        (6, "r0", "duplicate_id"),
        (7, "mute", "nothing_trained"),
        (8, "heavy", "bad_record"),
        (9, None, "incomplete_line"),
    }
    assert ledger.imbalances() == []


def test_files_without_anything_to_train_on_are_refused_with_the_first_reason(tmp_path: Path, model: Path) -> None:
    turns = [{"role": "user", "content": "x"}, {"role": "assistant", "text": "y"}]
    (tmp_path / "chats.jsonl").write_text(json.dumps({"id": 3, "messages": turns}) + "\n")
    said = r"1 records read.* 1 bad_record; first, chats.jsonl line 1 \(3\): conversations.1.content: Field required"
    with pytest.raises(ValueError, match=said):
        prepare(tmp_path / "chats.jsonl", model, tmp_path / "corpus", WIDE)
    held_out = write_records(tmp_path / "few.jsonl", 2)
    with pytest.raises(ValueError, match=r"nothing is left to train on; 2 records read, 2 documents held out"):
        prepare(held_out, model, tmp_path / "corpus", PrepareConfig(sequence_length=320, validation_share=0.999))
    assert not (tmp_path / "corpus").exists()


def test_a_long_document_stops_prepare_unless_a_policy_says_otherwise(tmp_path: Path, model: Path) -> None:
    records = write_records(tmp_path / "records.jsonl", 20)
    with pytest.raises(ValueError, match=r"sequence_length=128: \d+ documents are longer, first r0 .*over_long"):
        prepare(records, model, tmp_path / "corpus", PrepareConfig(sequence_length=128))
    assert list(tmp_path.iterdir()) == [records]


def test_dropped_documents_are_accounted_for(tmp_path: Path, model: Path) -> None:
    records = write_records(tmp_path / "records.jsonl", 20)
    ledger = prepare(records, model, tmp_path / "corpus", PrepareConfig(sequence_length=128, over_long="drop"))
    assert ledger.dropped["over_long"] == 20 - ledger.records_kept > 0
    assert Corpus(tmp_path / "corpus").lengths.max() <= 129


@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(length=st.integers(80, 200))
def test_split_documents_keep_every_target(tmp_path_factory: pytest.TempPathFactory, model: Path, length: int) -> None:
    folder = tmp_path_factory.mktemp("split")
    records = write_records(folder / "records.jsonl", 10)
    whole = prepare(records, model, folder / "whole", WIDE)
    ledger = prepare(records, model, folder / "split", PrepareConfig(sequence_length=length, over_long="split"))
    corpus = Corpus(folder / "split")
    assert ledger.imbalances() == []
    assert corpus.lengths.max() <= length + 1
    assert ledger.train.tokens + sum(ledger.tokens_dropped.values()) == whole.tokens_read
    # no turn is longer than a pack here, so every cut is at a header and costs no target
    assert ledger.train.trained == whole.train.trained


def test_cuts_within_a_turn_are_counted_with_what_they_cost(tmp_path: Path, model: Path) -> None:
    records = write_conversations(tmp_path / "r.jsonl", {"long": ["count", "bolt river " * 60], "short": ["x", "y"]})
    ledger = prepare(records, model, tmp_path / "corpus", PrepareConfig(sequence_length=64, over_long="split"))
    pieces = ledger.documents_from_splits
    assert pieces > 1
    assert ledger.cuts_within_turns == ledger.targets_lost == pieces - 1  # the first piece trains nothing


def test_same_inputs_same_digest(tmp_path: Path, model: Path) -> None:
    records = write_records(tmp_path / "records.jsonl", 5)
    prepare(records, model, tmp_path / "a", WIDE)
    prepare(records, model, tmp_path / "b", WIDE)
    prepare(records, model, tmp_path / "c", PrepareConfig(sequence_length=321))
    digests = [Corpus(tmp_path / name).digest for name in "abc"]
    assert digests[0] == digests[1] != digests[2]
    for column in ("tokens.bin", "roles.bin", "weights.bin"):
        assert (tmp_path / "a" / column).read_bytes() == (tmp_path / "b" / column).read_bytes()


def test_a_corpus_of_other_inputs_is_replaced_and_a_half_one_is_none(tmp_path: Path, model: Path) -> None:
    first = write_records(tmp_path / "first.jsonl", 5)
    second = write_records(tmp_path / "second.jsonl", 6, seed=1)
    prepare(first, model, tmp_path / "corpus", WIDE)
    prepare(second, model, tmp_path / "corpus", WIDE)
    assert len(Corpus(tmp_path / "corpus")) == 6
    (tmp_path / "corpus" / "corpus.json").unlink()
    (tmp_path / "corpus.building").mkdir()  # as a killed prepare leaves it
    with pytest.raises(ValueError, match=r"no corpus\.json"):
        Corpus(tmp_path / "corpus")
    prepare(second, model, tmp_path / "corpus", WIDE)
    assert len(Corpus(tmp_path / "corpus")) == 6
    assert {p.name for p in tmp_path.iterdir()} == {"first.jsonl", "second.jsonl", "corpus"}


def test_turn_weights_reach_the_corpus(tmp_path: Path, model: Path) -> None:
    turns = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": "wrong", "weight": 0},
        {"role": "user", "content": "Observation: no", "weight": None},
        {"role": "assistant", "content": "right", "weight": 2},
    ]
    (tmp_path / "r.jsonl").write_text(json.dumps({"id": "a", "conversations": turns}) + "\n")
    prepare(tmp_path / "r.jsonl", model, tmp_path / "corpus", WIDE)
    document = Corpus(tmp_path / "corpus").document(0)
    assert set(np.unique(document.weights)) == {0.0, 2.0}
    assert (document.roles == 3).sum() > (document.weights > 0).sum()


def test_a_weight_of_0_on_a_turn_that_is_context_anyway_is_no_fault(tmp_path: Path, model: Path) -> None:
    turns = [
        {"role": "system", "content": "act", "weight": 0},
        {"role": "user", "content": "x", "weight": 0.0},
        {"role": "assistant", "content": "y", "weight": 1},
    ]
    (tmp_path / "r.jsonl").write_text(json.dumps({"id": "a", "conversations": turns}) + "\n")
    assert prepare(tmp_path / "r.jsonl", model, tmp_path / "corpus", WIDE).records_kept == 1


def test_records_of_other_forms_are_prepared_as_the_same_records(tmp_path: Path, model: Path) -> None:
    records = [json.loads(line) for line in write_records(tmp_path / "own.jsonl", 8).read_text().splitlines()]
    names = {"system": "system", "user": "human", "assistant": "gpt"}
    share = [
        {**r, "conversations": [{"from": names[t["role"]], "value": t["content"]} for t in r["conversations"]]}
        for r in records
    ]
    (tmp_path / "share.json").write_text(json.dumps(share, indent=1), encoding="utf-16")
    ledgers = [prepare(tmp_path / name, model, tmp_path / name[:3], WIDE) for name in ("own.jsonl", "share.json")]
    assert [ledger.records_kept for ledger in ledgers] == [8, 8]
    for file in ("tokens.bin", "roles.bin", "weights.bin", "documents.jsonl"):
        assert (tmp_path / "own" / file).read_bytes() == (tmp_path / "sha" / file).read_bytes()


def test_equal_records_without_ids_are_duplicates_only_when_asked(tmp_path: Path, model: Path) -> None:
    turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]
    (tmp_path / "r.jsonl").write_text((json.dumps({"messages": turns}) + "\n") * 2)
    twice = PrepareConfig(sequence_length=320, deduplicate="off")
    assert prepare(tmp_path / "r.jsonl", model, tmp_path / "off", twice).records_kept == 2
    ledger = prepare(tmp_path / "r.jsonl", model, tmp_path / "exact", WIDE)
    assert ledger.dropped == {"duplicate": 1}


def test_a_source_that_comes_to_nothing_is_refused_unless_it_may(tmp_path: Path, model: Path) -> None:
    good = write_records(tmp_path / "good.jsonl", 3)
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "mute.jsonl").write_text('{"id": "m", "messages": [{"role": "assistant", "content": ""}]}\n')
    for name, said in (("empty", "it holds no record"), ("mute", r"none of its 1 .* mute.jsonl line 1 \(m\): turn 0")):
        mixture = [{"path": str(good)}, {"path": str(tmp_path / f"{name}.jsonl")}]
        config = PrepareConfig.model_validate({"sequence_length": 320, "sources": mixture})
        with pytest.raises(ValueError, match=said):
            prepare(good, model, tmp_path / "corpus", config)
        assert not (tmp_path / "corpus").exists()
        may = [mixture[0], {**mixture[1], "allow_empty": True}]
        allowed = PrepareConfig.model_validate({"sequence_length": 320, "sources": may})
        assert prepare(good, model, tmp_path / name, allowed).records_kept == 3
        with pytest.raises(ValueError, match=said):  # also when the corpus is there
            prepare(good, model, tmp_path / name, config)


def test_left_out_reasoning_is_counted(tmp_path: Path, model: Path) -> None:
    turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y", "reasoning_content": "z"}]
    (tmp_path / "r.jsonl").write_text(json.dumps({"messages": turns}) + "\n")
    ledger = prepare(tmp_path / "r.jsonl", model, tmp_path / "corpus", WIDE)
    assert ledger.reasoning_left_out == Corpus(tmp_path / "corpus").ledger.reasoning_left_out == 1
    written = PrepareConfig.model_validate({"sequence_length": 320, "reading": {"reasoning": "text"}})
    assert prepare(tmp_path / "r.jsonl", model, tmp_path / "text", written).reasoning_left_out == 0
    assert Corpus(tmp_path / "text").lengths[0] > Corpus(tmp_path / "corpus").lengths[0]


def test_megatron_reads_the_columns(corpus: Path) -> None:
    ours = Corpus(corpus)
    for column, field in (("tokens", "ids"), ("roles", "roles"), ("weights", "weights")):
        theirs = IndexedDataset(str(corpus / column))
        assert len(theirs) == len(ours)
        for index in (0, len(ours) - 1):
            np.testing.assert_array_equal(theirs[index], getattr(ours.document(index), field))


def test_truncated_documents_are_counted(tmp_path: Path, model: Path) -> None:
    records = write_records(tmp_path / "records.jsonl", 20)
    ledger = prepare(records, model, tmp_path / "corpus", PrepareConfig(sequence_length=128, over_long="truncate"))
    lengths = Corpus(tmp_path / "corpus").lengths
    assert lengths.max() == 129
    assert ledger.records_kept == 20
    assert ledger.records_split == 0
    assert ledger.tokens_read - lengths.sum() == ledger.tokens_dropped["truncated"] > 0


def test_roles_have_weights_and_turns_multiply_them(tmp_path: Path, model: Path) -> None:
    turns = [
        {"role": "user", "content": "task", "weight": 0.5},
        {"role": "assistant", "content": "answer"},
        {"role": "user", "content": "more"},
    ]
    (tmp_path / "r.jsonl").write_text(json.dumps({"id": "a", "conversations": turns}) + "\n")
    config = PrepareConfig(role_weights={"user": 0.25, "assistant": 2})
    prepare(tmp_path / "r.jsonl", model, tmp_path / "corpus", config)
    corpus = Corpus(tmp_path / "corpus")
    document = corpus.document(0)
    weights = [set(document.weights[document.roles == role].tolist()) for role in range(4)]
    assert weights == [{0.0}, set(), {0.125, 0.25}, {2.0}]
    assert corpus.trained_roles == ("user", "assistant")


def test_a_last_line_without_newline_counts_when_it_is_whole(tmp_path: Path, model: Path) -> None:
    path = write_records(tmp_path / "r.jsonl", 3)
    path.write_text(path.read_text().rstrip("\n"))
    assert prepare(path, model, tmp_path / "corpus", WIDE).records_kept == 3


def test_a_template_that_refuses_turns_drops_the_record_and_says_why(tmp_path: Path, model: Path) -> None:
    strict = tmp_path / "strict.jinja"
    strict.write_text(
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + CHATML
    )
    path = write_conversations(tmp_path / "r.jsonl", {"a": ["x", "y"]})
    with path.open("a") as file:
        turns = [{"role": "system", "content": "be"}, {"role": "assistant", "content": "y"}]
        file.write(json.dumps({"id": "b", "conversations": turns}) + "\n")
    ledger = prepare(path, model, tmp_path / "corpus", PrepareConfig(chat_template=str(strict)))
    (dropped,) = ledger.dropped_records
    assert (dropped.id, dropped.reason) == ("b", "template")
    assert "no system role" in dropped.detail


def test_any_number_of_processes_makes_the_same_corpus(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codeact_train.prepare.chunk.CHUNK_BYTES", 2000)
    records = write_records(tmp_path / "records.jsonl", 60)
    settings = {"sequence_length": 200, "over_long": "split", "deduplicate": "near", "validation_share": 0.2}
    for workers in (1, 2):
        prepare(records, model, tmp_path / str(workers), PrepareConfig(**settings, workers=workers))
    files = [{p.relative_to(tmp_path / w): p.read_bytes() for p in (tmp_path / w).rglob("*.*")} for w in "12"]
    assert len(files[0]) > 10
    assert files[0] == files[1]


def test_a_prepare_that_is_killed_leaves_no_corpus(tmp_path: Path, model: Path) -> None:
    records = write_records(tmp_path / "records.jsonl", 40)
    code = f"""
import os
from pathlib import Path
from codeact_train.config.prepare import PrepareConfig
from codeact_train.prepare import build
build.drop_duplicates = lambda *_: print("half-way", flush=True) or os.read(0, 1)
build.prepare(Path({str(records)!r}), Path({str(model)!r}), Path({str(tmp_path / "corpus")!r}), PrepareConfig())
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "half-way\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert (tmp_path / "corpus.building" / "stage" / "tokens.idx").is_file()
    with pytest.raises(ValueError, match=r"no corpus\.json"):
        Corpus(tmp_path / "corpus")
    prepare(records, model, tmp_path / "corpus", WIDE)
    assert {p.name for p in tmp_path.iterdir()} == {"records.jsonl", "corpus"}
