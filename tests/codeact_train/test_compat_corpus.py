"""Corpora made before the modules were renamed open as before, and the same inputs still make them.

``tests/data/compat/corpus`` holds 19 lines with every kind of defect, an evaluation set, and the two corpora that
version made of them: ``best_fit`` and, with ``parity: paper``, ``paper``. The tokenizer is in ``best_fit/tokenizer``.
"""

import json
from pathlib import Path

import pytest

from codeact_train.config.prepare import PrepareConfig
from codeact_train.data.corpus import Corpus
from codeact_train.data.tokenizer import load_tokenizer
from codeact_train.prepare import prepare

COMPAT = Path(__file__).parents[1] / "data" / "compat"
DIGESTS = {"best_fit": "5b7c063e21b57b08", "paper": "8698c56dda4762ad"}
BYTE_FOR_BYTE = [
    *(f"{column}.{suffix}" for column in ("tokens", "roles", "weights") for suffix in ("bin", "idx")),
    "packs.npz", "documents.jsonl", "dropped.jsonl", "ledger.json",
]  # fmt: skip


@pytest.mark.parametrize("name", DIGESTS)
def test_an_old_corpus_opens(name: str) -> None:
    corpus = Corpus(COMPAT / "corpus" / name)
    ledger = corpus.ledger
    assert corpus.digest == DIGESTS[name]
    assert corpus.parity == ("paper" if name == "paper" else "off")
    assert ledger.imbalances() == []
    assert len(corpus) == len(list(corpus.names()))
    assert len(corpus.packs("train")) == ledger.train.packs > 0
    assert ledger.dropped and ledger.records_read == ledger.files["records.jsonl"].read
    tokenizer = load_tokenizer(COMPAT / "corpus" / "best_fit" / "tokenizer")
    document = corpus.document(int(corpus.packs("train").document[0]))
    assert "<|im_start|>assistant" in tokenizer.decode(document.ids)
    assert document.weights.any()


@pytest.mark.parametrize("name", DIGESTS)
def test_the_same_inputs_make_the_same_corpus(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(COMPAT)  # the evaluation set is named by a relative path
    old = COMPAT / "corpus" / name
    manifest = json.loads((old / "corpus.json").read_text())
    records, model = Path("corpus", "records.jsonl"), Path("corpus", "best_fit", "tokenizer")
    prepare(records, model, tmp_path / "corpus", PrepareConfig.model_validate(manifest["settings"]))
    for file in BYTE_FOR_BYTE:
        assert (tmp_path / "corpus" / file).read_bytes() == (old / file).read_bytes(), file
    made = json.loads((tmp_path / "corpus" / "corpus.json").read_text())
    former = {key: made[key] for key in manifest}  # later versions write further keys
    assert {**former, "imitates": None} == {**manifest, "imitates": None}  # the wording of the notes may change


@pytest.mark.parametrize("trained", [True, False], ids=["trained on", "not trained on"])
def test_an_old_corpus_of_the_same_inputs_is_kept_if_a_run_needs_it(
    trained: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Preparing again writes nothing there. Other old corpora are made again: their ids may not be a server's."""
    monkeypatch.chdir(COMPAT)
    old = COMPAT / "corpus" / "best_fit"
    (tmp_path / "corpus").mkdir()
    for file in ("corpus.json", "ledger.json", *BYTE_FOR_BYTE):
        (tmp_path / "corpus" / file).write_bytes((old / file).read_bytes())
    config = PrepareConfig.model_validate(json.loads((old / "corpus.json").read_text())["settings"])
    digest = DIGESTS["best_fit"] if trained else None
    prepare(Path("corpus", "records.jsonl"), old / "tokenizer", tmp_path / "corpus", config, trained=digest)
    assert (tmp_path / "corpus" / "audit.html").exists() == (not trained)
    assert (tmp_path / "corpus" / "samples.jsonl").exists() == (not trained)
    assert Corpus(tmp_path / "corpus").digest == DIGESTS["best_fit"]
