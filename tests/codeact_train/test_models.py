"""Every family with a mapping computes what transformers computes, document by document, at tensor parallel 1 and 2."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from megatron.core import tensor_parallel
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    MistralConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

from codeact_train import hf
from codeact_train.data.collate import collate
from codeact_train.data.document import Document
from codeact_train.distributed import parallel_context
from codeact_train.model.gpt import build
from codeact_train.model.spec import ModelSpec
from codeact_train.parity.toy_models import save_model
from launch.inputs.resolve_model import BUILT_IN, resolve_model
from tests.helpers.models import SHAPE
from tests.helpers.processes import in_world
from tests.helpers.training import events, recipe, run_job

LLAMA3: dict[str, Any] = {
    "rope_type": "llama3", "rope_theta": 10000.0, "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
YARN: dict[str, Any] = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 128,
}
UNTIED: dict[str, Any] = {"tie_word_embeddings": False}
TIED: dict[str, Any] = {"tie_word_embeddings": True}

FAMILIES = {
    "llama-2": LlamaConfig(**SHAPE, **UNTIED),
    "llama-3 with scaled RoPE, tied": LlamaConfig(**SHAPE, **TIED, rope_parameters=LLAMA3),
    "llama with linear RoPE": LlamaConfig(
        **SHAPE, rope_parameters={"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0}
    ),
    "llama with dynamic RoPE": LlamaConfig(
        **SHAPE, rope_parameters={"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}
    ),
    "mistral with a window": MistralConfig(**SHAPE, **UNTIED, sliding_window=24, head_dim=16),
    "mistral without, tied": MistralConfig(**SHAPE, **TIED, sliding_window=None),
    "qwen2, tied": Qwen2Config(**SHAPE, **TIED),
    "qwen2 with a window in its second layer": Qwen2Config(
        **SHAPE, **UNTIED, use_sliding_window=True, sliding_window=24, max_window_layers=1
    ),
    "qwen2.5 with YaRN": Qwen2Config(**SHAPE, **UNTIED, rope_parameters=YARN),
    "qwen3": Qwen3Config(**SHAPE, **UNTIED, head_dim=16),
    "qwen3 with one key-value head": Qwen3Config(**{**SHAPE, "num_key_value_heads": 1}, **UNTIED, head_dim=16),
    "qwen2 with one key-value head": Qwen2Config(**{**SHAPE, "num_key_value_heads": 1}, **TIED),
    "qwen3 with a window, tied": Qwen3Config(
        **SHAPE, **TIED, head_dim=16, use_sliding_window=True, sliding_window=24, max_window_layers=0
    ),
}
LENGTHS = (100, 3, 61)
"""Documents on both sides of the windows."""


def packed_logits(layouts: list[dict], folders: dict) -> dict:
    """Logits of all positions of documents packed into one sequence, by layout and folder."""
    world = parallel_context.init_process_group()
    found = {}
    for number, settings in enumerate(layouts):
        train = recipe(parallel=settings)
        parallel_context.init_model_parallel(train.parallel, 0, world)
        for name, folder in folders.items():
            spec = ModelSpec.read(folder)
            model = build(spec, train, world.device).eval()
            with hf.SafeTensors(folder) as tensors:
                hf.load(model, spec, tensors)
            caught: list[Any] = []  # copies: the loss works on the logits in place
            model.output_layer.register_forward_hook(lambda *call, caught=caught: caught.append(call[2][0].clone()))
            with torch.no_grad():
                model(collate(documents()))
            logits = tensor_parallel.gather_from_tensor_model_parallel_region(caught[0])
            found[number, name] = logits[:, 0, : spec.vocab].numpy()
    return found


def documents() -> list[Document]:
    """Random tokens, all of them trained."""
    rng = np.random.default_rng(0)
    return [
        Document(rng.integers(0, 301, n + 1).astype(np.int32), np.zeros(n + 1, np.uint8), np.ones(n + 1, np.float32))
        for n in LENGTHS
    ]


def transformers_logits(folder: Path, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
    with torch.no_grad():
        rows = [model(torch.from_numpy(d.ids[None, :-1]).long()).logits[0] for d in documents()]
    return torch.cat(rows)


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> dict:
    """Ours at both layouts, and transformers', by family."""
    root = tmp_path_factory.mktemp("families")
    folders = {name: save_model(root / str(i), tokenizer, config) for i, (name, config) in enumerate(FAMILIES.items())}
    ours = in_world(2, packed_logits, [{}, {"tensor": 2}], folders)
    return {name: (ours[0, name], ours[1, name], transformers_logits(folder)) for name, folder in folders.items()}


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_those_of_transformers(computed: dict, family: str) -> None:
    *ours, theirs = computed[family]
    assert theirs.std() > 0.1
    for logits in ours:
        assert np.abs(logits - theirs.numpy()).max() < 1e-5


def test_kinds_of_rope_differ_on_the_same_weights(computed: dict) -> None:
    plain, linear, dynamic = (computed[f"llama{kind}"][0] for kind in ("-2", " with linear RoPE", " with dynamic RoPE"))
    assert np.abs(linear - plain).max() > 1e-2
    assert np.abs(dynamic - plain).max() < 1e-5  # within the model's positions it is none


def test_bf16_keeps_fp32_main_weights(tmp_path: Path, model: Path, corpus: Path) -> None:
    """The curve follows float32's, and steps smaller than a bf16 weight can hold are not lost over a resume."""
    assert run_job(tmp_path / "whole", model, corpus, recipe()) == 0
    assert run_job(tmp_path / "bf16", model, corpus, recipe(precision="bf16", stop_after_steps=3)) == 75
    assert run_job(tmp_path / "bf16", model, corpus, recipe(precision="bf16")) == 0
    fp32, bf16 = ([e["loss"] for e in events(tmp_path / out, "step")] for out in ("whole", "bf16"))
    assert bf16 == pytest.approx(fp32, rel=0.02)


@pytest.mark.slow
def test_the_real_smollm2() -> None:
    """SmolLM2-135M-Instruct: logits reach 36, where float32 itself is not exact to 1e-5, so transformers in float64 is
    the judge: ours are as near to it as transformers' own."""
    folder = resolve_model(BUILT_IN)
    ours = in_world(2, packed_logits, [{}], {"real": folder})[0, "real"]
    theirs, exact = (transformers_logits(folder, dtype).numpy() for dtype in (torch.float32, torch.float64))
    assert np.abs(ours - theirs).max() < 1e-5 * np.abs(exact).max()
    assert np.abs(ours - exact).max() < 1.5 * np.abs(theirs - exact).max()
