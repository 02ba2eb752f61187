"""Weights go from a Hugging Face folder into any layout and come back as they were; a folder that is not what it says
it is, is refused by name."""

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast, Qwen2Config, Qwen3Config

from codeact_train import hf
from codeact_train.backends.megatron.state import MegatronState
from codeact_train.config.train import TrainConfig, TrainJob
from codeact_train.distributed import parallel_context
from codeact_train.hf import export
from codeact_train.hf.export import weights_digest
from codeact_train.model.source import ModelSource
from codeact_train.model.spec import ModelSpec
from codeact_train.parity.toy_models import save_model
from tests.helpers.models import SHAPE
from tests.helpers.processes import in_world
from tests.helpers.training import recipe

FAMILIES = {
    "llama, tied": LlamaConfig(**SHAPE, tie_word_embeddings=True),
    "llama, untied": LlamaConfig(**SHAPE, tie_word_embeddings=False),
    "qwen2, tied": Qwen2Config(**SHAPE, tie_word_embeddings=True),
    "qwen3, untied": Qwen3Config(**SHAPE, tie_word_embeddings=False, head_dim=16),
    "qwen2, two key-value heads": Qwen2Config(**{**SHAPE, "num_key_value_heads": 2}, tie_word_embeddings=True),
    "llama, one key-value head": LlamaConfig(**{**SHAPE, "num_key_value_heads": 1}, tie_word_embeddings=False),
}
LAYOUTS = {
    "TP1": {},
    "TP2": {"tensor": 2},
    "TP4": {"tensor": 4},
    "PP2": {"pipeline": 2},
    "TP2 PP2": {"tensor": 2, "pipeline": 2},
}
"""Of four processes; what remains is data parallelism."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> dict:
    """A model of each family, and one as bfloat16 in several files."""
    root = tmp_path_factory.mktemp("families")
    made = {name: save_model(root / str(i), tokenizer, config) for i, (name, config) in enumerate(FAMILIES.items())}
    tokenizer.save_pretrained(root / "bf16")
    halved = AutoModelForCausalLM.from_pretrained(made["llama, untied"], dtype=torch.bfloat16)
    halved.save_pretrained(root / "bf16", max_shard_size="50KB")
    assert (root / "bf16/model.safetensors.index.json").is_file()
    return {**made, "bfloat16 in several files": root / "bf16"}


def there_and_back(layouts: dict[str, dict[str, Any]], folders: dict[str, Path], corpus: Path, out: Path) -> None:
    """Load each folder in each layout and export it at once, in the type of its files."""
    world = parallel_context.init_process_group()
    for name, settings in layouts.items():
        for number, (family, folder) in enumerate(folders.items()):
            precision = "bf16" if family.startswith("bfloat16") else None
            train = recipe(parallel=settings, export_precision=precision)
            ctx = parallel_context.init_model_parallel(train.parallel, 0, world)
            job = TrainJob(model=str(folder), corpus=str(corpus), out="", train=train)
            state = MegatronState(job, ctx, ModelSource.read(job), 10)
            state.export(corpus / "tokenizer", out / name / str(number), epoch=1, checkpoint="none")


@pytest.fixture(scope="module")
def returned(
    tmp_path_factory: pytest.TempPathFactory, folders: dict[str, Path], corpus: Path
) -> dict[tuple[str, str], Path]:
    """Where each family came back to, by layout and family."""
    out = tmp_path_factory.mktemp("returned")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "FILE_BYTES", 300_000)  # so that most exports are several files
        in_world(4, there_and_back, LAYOUTS, folders, corpus, out)
    return {(layout, family): out / layout / str(i) for layout in LAYOUTS for i, family in enumerate(folders)}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("family", [*FAMILIES, "bfloat16 in several files"])
def test_weights_come_back_bit_for_bit(
    returned: dict[tuple[str, str], Path], folders: dict[str, Path], layout: str, family: str
) -> None:
    before, after = (hf.SafeTensors(folder) for folder in (folders[family], returned[layout, family]))
    assert before.names() == after.names()
    for name in before.names():
        assert torch.equal(before[name][:], after[name][:])
        assert before[name][:].dtype == after[name][:].dtype


def test_several_files_are_what_transformers_reads(
    returned: dict[tuple[str, str], Path], folders: dict[str, Path]
) -> None:
    folder = returned["TP2 PP2", "llama, untied"]
    assert len(list(folder.glob("model-*-of-*.safetensors"))) > 1
    assert not (folder / "model.safetensors").exists()
    loaded: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    found, info = loaded
    assert not info["missing_keys"] and not info["unexpected_keys"]
    wanted = load_file(folders["llama, untied"] / "model.safetensors")
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in found.state_dict().items())
    assert weights_digest(folder) == weights_digest(folders["llama, untied"])
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in wanted.values())


@pytest.mark.parametrize("family", FAMILIES)
def test_cuts_joined_are_what_was_cut(folders: dict[str, Path], family: str) -> None:
    """Without processes: every parameter of every stage, at every size."""
    spec, tensors = ModelSpec.read(folders[family]), hf.SafeTensors(folders[family])
    for size, stages in itertools.product((1, 2, 4), (1, 2)):
        found: list[str] = []
        for weight in itertools.chain(*(hf.weight_map(spec, stage, stages) for stage in range(stages))):
            stored = [tensors[name] for name in weight.hf]
            parts = torch.stack([hf.cut(weight, stored, spec, rank, size) for rank in range(size)])
            whole = hf.join(weight, parts, spec)
            found += [] if weight.copy else weight.hf
            assert all(torch.equal(a, b[:]) for a, b in zip(whole, stored, strict=True))
        assert sorted(found) == tensors.names()


def changed(folder: Path, out: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> Path:
    """A copy of a folder whose tensors ``change`` has altered."""
    shutil.copytree(folder, out)
    tensors = load_file(out / "model.safetensors")
    change(tensors)
    save_file(tensors, out / "model.safetensors")
    return out


NORM = "model.layers.1.input_layernorm.weight"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda tensors: tensors.pop(NORM), f"tensor {NORM} of its config.json is missing; fetch"),
        (
            lambda tensors: tensors.update({NORM: torch.ones(32)}),
            rf"tensor {NORM} is \[32\], its config.json implies \[64\]",
        ),
        (
            lambda tensors: tensors.update({"model.layers.0.self_attn.o_proj.bias": torch.ones(64)}),
            r"no mapping for tensor model.layers.0.self_attn.o_proj.bias \(1 such\); set train.backend=deepspeed",
        ),
    ],
)
def test_a_folder_that_is_not_what_its_config_says(
    tmp_path: Path, model: Path, change: Callable[[dict[str, torch.Tensor]], Any], says: str
) -> None:
    folder = changed(model, tmp_path / "model", change)
    with hf.SafeTensors(folder) as tensors, pytest.raises(ValueError, match=says):
        tensors.check(hf.tensor_shapes(ModelSpec.read(folder)))


def test_what_may_stand_beside_the_weights(tmp_path: Path, model: Path) -> None:
    """RoPE's frequencies, as older exports hold them, and a head that is tied to the embedding."""

    def more(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()

    folder = changed(model, tmp_path / "model", more)
    hf.SafeTensors(folder).check(hf.tensor_shapes(ModelSpec.read(folder)))


def test_files_that_cannot_be_read(tmp_path: Path, model: Path) -> None:
    folder = shutil.copytree(model, tmp_path / "model")
    (folder / "model.safetensors").write_bytes((model / "model.safetensors").read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"cannot read model.safetensors .*; fetch the model again"):
        hf.SafeTensors(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"no model.safetensors; save the model with safetensors"):
        hf.SafeTensors(folder)
    index = {"weight_map": {"model.norm.weight": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match=r"cannot read model-00001-of-00002.safetensors"):
        hf.SafeTensors(folder)["model.norm.weight"]


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"model_type": "gpt2"}, "no mapping for model_type 'gpt2', only for llama, mistral, qwen2, qwen3; set train"),
        ({"model_type": "llama", "attention_bias": True}, "no mapping for attention_bias=True, only for False; set"),
        ({"model_type": "llama", "hidden_act": "gelu"}, "no mapping for hidden_act='gelu', only for 'silu'"),
        (
            {
                "model_type": "llama", "hidden_size": 32, "num_attention_heads": 4,
                "rope_scaling": {
                    "rope_type": "longrope", "short_factor": [1.0] * 4, "long_factor": [1.0] * 4, "factor": 2.0,
                    "original_max_position_embeddings": 512,
                },
            },
            "no mapping for rope_type 'longrope', only for default, linear, dynamic, llama3, yarn",
        ),
    ],
)  # fmt: skip
def test_what_has_no_mapping_is_named(tmp_path: Path, config: dict[str, Any], says: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=says):
        ModelSpec.read(tmp_path)


def test_a_wrong_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no config.json in this folder; give a Hugging Face model folder"):
        ModelSpec.read(tmp_path / "nowhere")


def test_an_export_cannot_have_more_digits_than_the_training() -> None:
    with pytest.raises(ValueError, match=r"export_precision=fp32 with precision=bf16: .*leave it out"):
        TrainConfig(precision="bf16", export_precision="fp32")
