"""A ``quantization_config`` that full weights have kept is left out; quantized weights are refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from codeact_train.model.spec import ModelSpec
from tests.helpers.training import recipe, run_job

FOUR_BITS = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}


@pytest.fixture
def left_behind(tmp_path: Path, model: Path) -> Path:
    """Full weights that were in four bits once."""
    folder = shutil.copytree(model, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": FOUR_BITS}))
    return folder


def test_full_weights_train_with_one_notice_and_their_export_loads(
    tmp_path: Path, left_behind: Path, corpus: Path
) -> None:
    assert run_job(tmp_path / "run", left_behind, corpus, recipe(epochs=1)) == 0
    said = (tmp_path / "run" / "log-0.txt").read_text()
    assert said.count(f"notice: model={left_behind}: its weights are full; quantization_config") == 1
    export = tmp_path / "run" / "exports" / "epoch-1"
    assert "quantization_config" not in json.loads((export / "config.json").read_text())
    assert AutoModelForCausalLM.from_pretrained(export).config.vocab_size == ModelSpec.read(left_behind).vocab


@pytest.mark.parametrize("kind", [torch.uint8, torch.int8, torch.float8_e4m3fn])
def test_quantized_weights_are_refused(left_behind: Path, kind: torch.dtype) -> None:
    tensors = load_file(left_behind / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    save_file(tensors | {name: tensors[name].to(kind)}, left_behind / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        ValueError, match=rf"weights are quantized \(bitsandbytes; tensor {name} is .*; give the folder"
    ):
        ModelSpec.read(left_behind)
