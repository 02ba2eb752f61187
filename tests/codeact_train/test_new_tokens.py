"""Tokens a corpus adds get rows in the model, begin as configured, are trained, and leave with the export."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, Gemma3Config, LlamaConfig, MistralConfig, ViTConfig

from codeact_train.backends.megatron.state import MegatronState
from codeact_train.config.prepare import PrepareConfig
from codeact_train.config.train import TrainConfig, TrainJob
from codeact_train.data.corpus import Corpus
from codeact_train.data.vocabulary import Vocabulary
from codeact_train.distributed import parallel_context
from codeact_train.hf.embedding_init import resize_embeddings
from codeact_train.hf.serving_files import write_serving_files
from codeact_train.model.source import ModelSource
from codeact_train.parity.toy_models import save_model
from codeact_train.plan import validate
from codeact_train.prepare import prepare
from launch.config import load
from tests.helpers.models import SHAPE
from tests.helpers.processes import in_world
from tests.helpers.records import write_records
from tests.helpers.training import events, run_job

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
LAYOUTS = [{}, {"tensor": 2}, {"tensor": 4}, {"tensor": 2, "pipeline": 2}]
CHATML = PrepareConfig(sequence_length=320, chat_template="chatml", add_tokens=("<|im_start|>", "<|im_end|>"))


def base_model(folder: Path, pieces: bytes, config: Any) -> Path:
    """A base model: a SentencePiece tokenizer without control tokens of a chat or one to pad."""
    folder.mkdir()
    (folder / "tokenizer.model").write_bytes(pieces)
    names = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(names))
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    config.vocab_size = len(tokenizer)
    return save_model(folder, tokenizer, config)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, pieces: bytes) -> dict:
    root = tmp_path_factory.mktemp("base")
    configs = {
        "tied": LlamaConfig(**SHAPE, tie_word_embeddings=True),
        "untied": LlamaConfig(**SHAPE, tie_word_embeddings=False),
        "mistral": MistralConfig(**SHAPE, tie_word_embeddings=False, sliding_window=24),
    }
    return {name: base_model(root / name, pieces, config) for name, config in configs.items()}


@pytest.fixture(scope="module")
def chat_corpus(tmp_path_factory: pytest.TempPathFactory, models: dict) -> Path:
    folder = tmp_path_factory.mktemp("chat")
    prepare(write_records(folder / "records.jsonl", 12), models["tied"], folder / "corpus", CHATML)
    return folder / "corpus"


def export_untrained(models: dict, corpus: Path, out: Path) -> None:
    """Load and export in every layout, with both kinds of beginning."""
    world = parallel_context.init_process_group()
    for number, layout in enumerate(LAYOUTS):
        for name, folder in models.items():
            for start in ("mean", "last_row"):
                train = TrainConfig(parallel=layout, new_tokens=start)
                ctx = parallel_context.init_model_parallel(train.parallel, 0, world)
                job = TrainJob(model=str(folder), corpus=str(corpus), out="", train=train)
                state = MegatronState(job, ctx, ModelSource.read(job), 10)
                state.export(corpus / "tokenizer", out / name / start / str(number), epoch=1, checkpoint="none")


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory, models: dict, chat_corpus: Path) -> Path:
    out = tmp_path_factory.mktemp("exports")
    in_world(4, export_untrained, {name: models[name] for name in ("tied", "untied")}, chat_corpus, out)
    return out


@pytest.mark.parametrize("start", ["mean", "last_row"])
@pytest.mark.parametrize("kind", ["tied", "untied"])
def test_new_rows_begin_the_same_at_every_layout(
    exports: Path, models: dict, chat_corpus: Path, kind: str, start: str
) -> None:
    before = load_file(models[kind] / "model.safetensors")
    new = sorted(Corpus(chat_corpus).manifest["added_tokens"].values())
    for layout in range(len(LAYOUTS)):
        after = load_file(exports / kind / start / str(layout) / "model.safetensors")
        assert before.keys() == after.keys()
        for name, stored in before.items():
            assert torch.equal(after[name][: len(stored)], stored)
        for name in {EMBEDDING, HEAD} & before.keys():
            stored = before[name]
            row = stored.double().mean(0).float() if start == "mean" else stored[-1]
            assert new == [len(stored), len(stored) + 1]
            assert after[name].shape[0] == len(stored) + 2
            assert all(torch.equal(after[name][token], row) for token in new)


def test_transformers_models_get_the_same_rows(exports: Path, models: dict, chat_corpus: Path) -> None:
    """As the DeepSpeed backend and the parity check resize them."""
    for kind in ("tied", "untied"):
        model = AutoModelForCausalLM.from_pretrained(models[kind], dtype=torch.float32)
        resize_embeddings(model, Vocabulary.read(models[kind], chat_corpus), "mean")
        wanted = load_file(exports / kind / "mean" / "0" / "model.safetensors")
        assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in wanted.items())


def test_the_export_stops_pads_and_chats(exports: Path, chat_corpus: Path) -> None:
    folder = exports / "untied" / "mean" / "1"
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    end, start = (tokenizer.convert_tokens_to_ids(token) for token in ("<|im_end|>", "<|im_start|>"))
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<unk>")
    assert model.config.vocab_size == model.get_input_embeddings().weight.shape[0] == len(tokenizer)
    assert (model.config.eos_token_id, model.config.pad_token_id) == (end, tokenizer.pad_token_id)
    assert model.generation_config.eos_token_id == [end, 2]  # and where the base model stopped
    assert model.generation_config.pad_token_id == tokenizer.pad_token_id != end
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": "count"}], add_generation_prompt=True, tokenize=True, return_dict=False
    )
    assert (ids[0], ids.count(start), ids.count(end)) == (start, 2, 1)
    assert model.generate(torch.tensor([ids]), max_new_tokens=2, do_sample=False).shape[1] > len(ids)


def test_a_model_whose_end_token_pads_gets_another(models: dict, model: Path, corpus: Path, tmp_path: Path) -> None:
    """As SmolLM2 has it; and a tokenizer of which nothing was added."""
    source = shutil.copytree(corpus / "tokenizer", tmp_path / "tokenizer")
    settings = json.loads((source / "tokenizer_config.json").read_text())
    settings |= {"pad_token": "<|im_end|>", "unk_token": "<|endoftext|>"}
    (source / "tokenizer_config.json").write_text(json.dumps(settings))

    def export(out: Path) -> None:
        ctx = parallel_context.init_model_parallel(TrainConfig().parallel, 0, parallel_context.init_process_group())
        job = TrainJob(model=str(model), corpus=str(corpus), out="", train=TrainConfig())
        MegatronState(job, ctx, ModelSource.read(job), 10).export(source, out, epoch=1, checkpoint="none")

    in_world(1, export, tmp_path / "export")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "export")
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|endoftext|>")


@pytest.mark.parametrize("recipe", ["llama2_7b_4k", "mistral_7b_16k"])
def test_the_recipes_train_a_base_model(tmp_path: Path, models: dict, recipe: str) -> None:
    """Two steps of the paper's recipes on small models of their architecture, at tensor parallel 2."""
    model = models["mistral" if recipe.startswith("mistral") else "untied"]
    records = write_records(tmp_path / "records.jsonl", 12)
    overrides = [
        f"prepare.sources=[{{path: {records}, name: own}}]", "prepare.sequence_length=256",
        "train.parallel.tensor=2", "train.epochs=1", "train.optimizer.warmup_steps=1", "train.tensorboard=false",
    ]  # fmt: skip
    config = load(Path("configs") / f"{recipe}.yaml", overrides)
    prepare(records, model, tmp_path / "corpus", config.prepare)
    packs = len(Corpus(tmp_path / "corpus").packs())
    train = config.train.model_copy(update={"global_batch_packs": -(-packs // 2)})
    validate(train, model, processes=2, corpus=tmp_path / "corpus")
    assert run_job(tmp_path / "run", model, tmp_path / "corpus", train, world=2) == 0
    assert [event["step"] for event in events(tmp_path / "run", "step")] == [1, 2]
    checks = ["leak", *(["window"] if "mistral" in recipe else []), "parity", "audit", "prompt", "partition"]
    assert [check["name"] for check in events(tmp_path / "run", "startup_check")] == checks
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "run/exports/epoch-1")
    assert exported.dtype == torch.bfloat16
    assert exported.config.vocab_size == Vocabulary.read(model, tmp_path / "corpus").known + 2


def test_rows_a_padded_model_has_already_are_initialised_again(models: dict, chat_corpus: Path, tmp_path: Path) -> None:
    """A matrix padded beyond the tokenizer's tokens: the new ones take rows that mean nothing."""
    model: Any = AutoModelForCausalLM.from_pretrained(models["tied"], dtype=torch.float32)
    known = model.config.vocab_size
    model.resize_token_embeddings(known + 24)
    with torch.no_grad():
        model.get_input_embeddings().weight[known:] = 7.0
    model.save_pretrained(tmp_path / "padded")
    vocabulary = Vocabulary.read(tmp_path / "padded", chat_corpus)
    assert (vocabulary.rows, vocabulary.known, vocabulary.new) == (known + 24, known, (known, known + 1))
    resize_embeddings(model, vocabulary, "mean")
    weight = model.get_input_embeddings().weight
    assert torch.equal(weight[known], weight[:known].double().mean(0).float())
    assert (weight[known + 2 :] == 7.0).all()


def test_a_corpus_of_another_model_is_refused(models: dict, model: Path, tmp_path: Path) -> None:
    """Its tokens were not added: nobody could say what their rows should be."""
    records = write_records(tmp_path / "records.jsonl", 3)
    prepare(records, models["tied"], tmp_path / "corpus", CHATML)
    with pytest.raises(
        ValueError, match=r"made with another tokenizer .*: id 0 is '<unk>' in the corpus and '<\|endoftext\|>' in"
    ):
        validate(TrainConfig(epochs=9), model, corpus=tmp_path / "corpus")


def test_a_model_of_text_and_pictures_has_its_vocabulary_within(
    models: dict, chat_corpus: Path, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    size = Vocabulary.read(models["tied"], chat_corpus).rows
    Gemma3Config(text_config={"vocab_size": size - 2}).save_pretrained(source)
    assert Vocabulary.read(source, chat_corpus).rows == size
    (tmp_path / "out").mkdir()
    write_serving_files(source, chat_corpus / "tokenizer", tmp_path / "out", dtype="bfloat16", vocab=size)
    written = json.loads((tmp_path / "out" / "config.json").read_text())
    assert written["text_config"]["vocab_size"] == size
    assert "vocab_size" not in written
    assert {part["dtype"] for part in (written, written["text_config"])} == {"bfloat16"}


def test_a_model_without_a_vocabulary_is_refused(chat_corpus: Path, tmp_path: Path) -> None:
    ViTConfig().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"no vocab_size in its config.json"):
        Vocabulary.read(tmp_path, chat_corpus)
