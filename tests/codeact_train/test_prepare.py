"""From records to a corpus: nothing is lost without a reason, nothing half-made is taken for whole."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from train_jobs import write_records

from codeact_train.config import PrepareConfig
from codeact_train.corpus import Corpus
from codeact_train.prepare import prepare

WIDE = PrepareConfig(sequence_length=320)


def test_the_corpus_holds_what_the_ledger_says(tmp_path, model):
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


def test_unreadable_records_are_counted_and_named(tmp_path, model):
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
        (5, None, "bad_record"),
        (6, "r0", "duplicate_id"),
        (7, "mute", "nothing_trained"),
        (8, "heavy", "bad_record"),
        (9, None, "incomplete_line"),
    }
    assert ledger.imbalances() == []


def test_a_long_document_stops_prepare_unless_a_policy_says_otherwise(tmp_path, model):
    records = write_records(tmp_path / "records.jsonl", 20)
    with pytest.raises(ValueError, match=r"sequence_length=128: \d+ documents are longer, first r0 .*over_long"):
        prepare(records, model, tmp_path / "corpus", PrepareConfig(sequence_length=128))
    assert list(tmp_path.iterdir()) == [records]


def test_dropped_documents_are_accounted_for(tmp_path, model):
    records = write_records(tmp_path / "records.jsonl", 20)
    ledger = prepare(records, model, tmp_path / "corpus", PrepareConfig(sequence_length=128, over_long="drop"))
    assert ledger.dropped["over_long"] == 20 - ledger.records_kept > 0
    assert Corpus(tmp_path / "corpus").lengths.max() <= 129


@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(length=st.integers(80, 200))
def test_split_documents_keep_every_target(tmp_path_factory, model, length):
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


def test_same_inputs_same_digest(tmp_path, model):
    records = write_records(tmp_path / "records.jsonl", 5)
    prepare(records, model, tmp_path / "a", WIDE)
    prepare(records, model, tmp_path / "b", WIDE)
    prepare(records, model, tmp_path / "c", PrepareConfig(sequence_length=321))
    digests = [Corpus(tmp_path / name).digest for name in "abc"]
    assert digests[0] == digests[1] != digests[2]
    for column in ("tokens.bin", "roles.bin", "weights.bin"):
        assert (tmp_path / "a" / column).read_bytes() == (tmp_path / "b" / column).read_bytes()


def test_a_corpus_of_other_inputs_is_replaced_and_a_half_one_is_none(tmp_path, model):
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


def test_turn_weights_reach_the_corpus(tmp_path, model):
    turns = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": "wrong", "weight": 0},
        {"role": "user", "content": "Observation: no"},
        {"role": "assistant", "content": "right", "weight": 2},
    ]
    (tmp_path / "r.jsonl").write_text(json.dumps({"id": "a", "conversations": turns}) + "\n")
    prepare(tmp_path / "r.jsonl", model, tmp_path / "corpus", WIDE)
    document = Corpus(tmp_path / "corpus").document(0)
    assert set(np.unique(document.weights)) == {0.0, 2.0}
    assert (document.roles == 3).sum() > (document.weights > 0).sum()
