"""Paper parity: what the reference's collator and loss would make of a pack is what the trainer gets."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from codeact_train.config.prepare import PrepareConfig
from codeact_train.data.collate import collate
from codeact_train.data.corpus import Corpus
from codeact_train.data.document import ROLES
from codeact_train.prepare import prepare
from codeact_train.prepare.paper import next_fit
from tests.helpers.records import write_records
from tests.helpers.training import events, recipe, run_job

LENGTH = 320
BEGIN, END = 1, 2  # of the test tokenizer


@pytest.fixture(scope="module")
def paired(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The same records as an ordinary corpus, one document a record in their order, and with parity."""
    folder = tmp_path_factory.mktemp("paper")
    records = write_records(folder / "records.jsonl", 30)
    source = tmp_path_factory.mktemp("with-begin") / "model"
    source.mkdir()
    for file in model.iterdir():
        (source / file.name).write_bytes(file.read_bytes())
    settings = json.loads((source / "tokenizer_config.json").read_text())
    (source / "tokenizer_config.json").write_text(json.dumps({**settings, "bos_token": "<|im_start|>"}))
    ledgers = {
        parity: prepare(records, source, folder / parity, PrepareConfig(sequence_length=LENGTH, parity=parity))
        for parity in ("off", "paper")
    }
    return Corpus(folder / "off"), Corpus(folder / "paper"), ledgers["paper"]


def reference_packs(plain: Corpus) -> list[list[int]]:
    """Next-fit over documents sorted by length, a separator between two: as the paper's preprocessing does it."""
    packs: list[list[int]] = []
    room = 0
    for document in sorted(range(len(plain)), key=lambda d: -plain.lengths[d]):
        need = int(plain.lengths[document])
        if packs and need + 1 <= room:
            packs[-1].append(document)
            room -= need + 1
        else:
            packs.append([document])
            room = LENGTH - need
    return packs


def reference_batch(plain: Corpus, pack: list[int]) -> tuple[list[int], list[int], list[float], list[int]]:
    """Inputs, labels, loss weights over the pack's mean, and positions: as the paper's collator and loss make them.

    Roles count over whole turns; the mask stands with the inputs although labels are shifted.
    """
    tokens: list[int] = []
    roles: list[int] = []
    positions: list[int] = []
    for place, document in enumerate(pack):
        ids = plain.document(document).ids.tolist()
        example = ([BEGIN] if place else []) + ids
        turns = [0] * (len(example) - len(ids)) + whole_turn_roles(plain, document)
        tokens, roles, positions = tokens + example, roles + turns, positions + list(range(len(example)))
    mask = [float(role == ROLES["assistant"]) for role in roles]
    return tokens, [*tokens[1:], END], [m / sum(mask) for m in mask], positions


def whole_turn_roles(plain: Corpus, document: int) -> list[int]:
    """Each token's role, header and line break behind the turn included."""
    ids = plain.document(document).ids.tolist()
    names = {"sy": 1, "us": 2, "as": 3}
    tokenizer = Tokenizer.from_file(str(plain.folder / "tokenizer" / "tokenizer.json"))
    roles, starts = [], [i for i, token in enumerate(ids) if token == BEGIN]
    for start, end in zip(starts, [*starts[1:], len(ids)], strict=True):
        roles += [names[tokenizer.decode(ids[start + 1 : end])[:2]]] * (end - start)
    return roles


def test_the_trainer_gets_what_the_reference_computes(paired: Any) -> None:
    plain, corpus, _ = paired
    packs = reference_packs(plain)
    plan = corpus.packs("train")
    assert len(plan) == len(packs) > 3
    for number, pack in enumerate(packs):
        batch = collate([corpus.document(d) for d in plan[number].tolist()])
        tokens, labels, weights, positions = reference_batch(plain, pack)
        assert batch.tokens[0].tolist() == tokens
        assert batch.positions.tolist() == positions
        trained = [i for i, weight in enumerate(weights) if weight]
        assert batch.trained.tolist() == trained
        assert batch.labels.tolist() == [labels[i] for i in trained]
        np.testing.assert_allclose(batch.weights.numpy(), [weights[i] for i in trained], rtol=1e-6)
    np.testing.assert_allclose(corpus.pack_weights("train"), 1.0, rtol=1e-6)


def test_the_corpus_and_its_ledger_say_so(paired: Any) -> None:
    _, corpus, ledger = paired
    assert (corpus.parity, corpus.manifest["packing"]) == ("paper", "next_fit")
    assert ledger.imbalances() == []
    assert ledger.tokens_added == 2 * ledger.train.documents - ledger.train.packs
    assert "defects included" in (corpus.folder / "audit.html").read_text()


def test_next_fit_fills_what_the_reference_fills() -> None:
    # three of 5 with separators are 17: two to a pack of 16, and 4 beside them needs a fifth slot
    plan = next_fit(np.array([5, 4, 5, 5, 4]), 16)
    assert [plan[p].tolist() for p in range(len(plan))] == [[0, 2], [3, 1, 4]]


def test_a_tokenizer_without_begin_token_is_refused(model: Path, tmp_path: Path) -> None:
    records = write_records(tmp_path / "r.jsonl", 3)
    with pytest.raises(ValueError, match=r"prepare.parity=paper needs a tokenizer with a begin and an end token"):
        prepare(records, model, tmp_path / "corpus", PrepareConfig(sequence_length=LENGTH, parity="paper"))


def test_the_trainer_takes_such_a_corpus_and_finds_faults_in_it(paired: Any, model: Path, tmp_path: Path) -> None:
    _, corpus, _ = paired
    train = recipe(startup_checks=["audit"], stop_after_steps=1, global_batch_packs=2)
    assert run_job(tmp_path / "sound", model, corpus.folder, train) == 75
    (check,) = events(tmp_path / "sound", "startup_check")
    assert (check["name"], check["value"]) == ("audit", 0)
    faulty = shutil.copytree(corpus.folder, tmp_path / "faulty")
    weights = np.fromfile(faulty / "weights.bin", np.float32)
    np.roll(weights, 1).tofile(faulty / "weights.bin")  # one token later still
    assert run_job(tmp_path / "off", model, faulty, train) == 3
