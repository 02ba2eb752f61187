"""A corpus belongs to a tokenizer and to its sources: another tokenizer is refused, changed sources are reported."""

import json
import os
import shutil
from pathlib import Path

import pytest

from codeact_train.config.prepare import EvaluationPrompts, PrepareConfig, SourceSettings
from codeact_train.config.train import TrainConfig
from codeact_train.data.corpus import Corpus
from codeact_train.data.corpus_inputs import changed_inputs
from codeact_train.data.toy_tokenizer import make_toy_tokenizer
from codeact_train.plan import validate
from codeact_train.prepare import prepare
from codeact_train.system import exit_codes
from tests.helpers.models import SHAPE, llama
from tests.helpers.records import write_records
from tests.helpers.training import recipe, run_job


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of as many tokens as ``model``, which mean something else."""
    text = ["zebra yonder xylem quartz jumbo vex fjord wizard lantern pebble harbour meadow copper"] * 5
    tokenizer = make_toy_tokenizer(text, SHAPE["vocab_size"])
    assert len(tokenizer) == SHAPE["vocab_size"]
    return llama(tmp_path_factory.mktemp("other"), tokenizer, tied=True)


def test_a_corpus_of_a_tokenizer_of_the_same_size_is_refused(
    model: Path, other: Path, corpus: Path, tmp_path: Path
) -> None:
    validate(TrainConfig(), model, corpus=corpus)
    with pytest.raises(
        ValueError, match=r"another tokenizer than that of model=.*: id \d+ is '.*' in the corpus and '"
    ):
        validate(TrainConfig(), other, corpus=corpus)
    assert run_job(tmp_path, other, corpus, recipe()) == exit_codes.BAD_CONFIG
    assert "was made with another tokenizer" in (tmp_path / "log-0.txt").read_text()


def test_a_template_and_tokens_of_ones_own_are_no_other_tokenizer(model: Path, tmp_path: Path) -> None:
    """Not those of the recipe, and not those a later export of the model has."""
    records = write_records(tmp_path / "records.jsonl", 6)
    config = PrepareConfig(sequence_length=320, chat_template="chatml", add_tokens=("<|call|>",))
    prepare(records, model, tmp_path / "corpus", config)
    validate(TrainConfig(), model, corpus=tmp_path / "corpus")
    export = shutil.copytree(model, tmp_path / "export")
    shutil.copytree(tmp_path / "corpus" / "tokenizer", export, dirs_exist_ok=True, ignore=lambda *_: {"config.json"})
    prepare(records, model, tmp_path / "plain", PrepareConfig(sequence_length=320))
    for made in ("plain", "corpus"):
        validate(TrainConfig(), export, corpus=tmp_path / made)


def test_an_earlier_corpus_is_compared_by_its_tokenizer(model: Path, other: Path, corpus: Path, tmp_path: Path) -> None:
    old = shutil.copytree(corpus, tmp_path / "corpus")
    manifest = json.loads((old / "corpus.json").read_text())
    del manifest["model_vocabulary"]
    (old / "corpus.json").write_text(json.dumps(manifest))
    validate(TrainConfig(), model, corpus=old)
    with pytest.raises(ValueError, match="another tokenizer"):
        validate(TrainConfig(), other, corpus=old)
    shutil.rmtree(old / "tokenizer")
    validate(TrainConfig(), other, corpus=old)  # as before: there is nothing to compare


def test_a_change_of_any_input_makes_a_corpus_stale(model: Path, tmp_path: Path) -> None:
    own = shutil.copytree(model, tmp_path / "model")
    (tmp_path / "run").mkdir()
    records = write_records(tmp_path / "run" / "records.jsonl", 6)
    further = write_records(tmp_path / "further.jsonl", 6, seed=1)
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"prompt": "one two three four five six seven eight nine"}\n')
    config = PrepareConfig(
        sources=(SourceSettings(), SourceSettings(path=str(further))),
        decontaminate=(EvaluationPrompts(path=str(prompts)),),
    )
    corpus = tmp_path / "run" / "corpus"
    prepare(records, own, corpus, config)
    assert changed_inputs(corpus) == []
    for changed in (records, further, prompts, own / "chat_template.jinja"):
        before = changed.read_bytes()
        changed.write_bytes(before[:-2] + b" \n")
        os.utime(changed, ns=(2**62, 2**62))
        assert changed_inputs(corpus) == [changed]
        changed.write_bytes(before)
        os.utime(changed, ns=(2**62, 2**62))  # a new time is no change
        assert changed_inputs(corpus) == []
    moved = (tmp_path / "run").rename(tmp_path / "moved")
    (moved / "records.jsonl").write_text("")
    assert changed_inputs(moved / "corpus") == [moved / "records.jsonl"]
    further.unlink()
    assert changed_inputs(moved / "corpus") == [moved / "records.jsonl"]


def test_the_trainer_says_that_a_corpus_is_stale(model: Path, tmp_path: Path) -> None:
    records = write_records(tmp_path / "records.jsonl", 12)
    prepare(records, model, tmp_path / "corpus", PrepareConfig(sequence_length=320))
    train = recipe(startup_checks=[], stop_after_steps=1, global_batch_packs=1, epochs=9)
    assert run_job(tmp_path / "same", model, tmp_path / "corpus", train) == exit_codes.STOPPED
    assert "stale" not in (tmp_path / "same" / "log-0.txt").read_text()
    write_records(records, 11)
    assert run_job(tmp_path / "run", model, tmp_path / "corpus", train) == exit_codes.STOPPED
    said = (tmp_path / "run" / "log-0.txt").read_text()
    assert f"the corpus is stale: {records} changed after it was made" in said


def test_a_corpus_named_by_an_earlier_version_is_kept(model: Path, tmp_path: Path) -> None:
    """Its digest did not cover all files of a tokenizer; a run that began with it can go on."""
    own = shutil.copytree(model, tmp_path / "model")
    records = write_records(tmp_path / "records.jsonl", 6)
    corpus = tmp_path / "corpus"
    prepare(records, own, corpus, PrepareConfig())
    former = Corpus(corpus).digest
    manifest = json.loads((corpus / "corpus.json").read_text())
    del manifest["model_vocabulary"]
    (corpus / "corpus.json").write_text(json.dumps(manifest))
    (own / "added_tokens.json").write_text("{}")
    prepare(records, own, corpus, PrepareConfig(), trained=former)
    assert Corpus(corpus).digest == former
    shutil.rmtree(corpus)
    prepare(records, own, corpus, PrepareConfig())
    assert Corpus(corpus).digest != former
