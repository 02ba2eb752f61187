"""Every family with a mapping computes what transformers computes, and goes in and out unchanged."""

import pytest
import torch
from safetensors.torch import load_file
from train_jobs import SHAPE, events, recipe, run_job, save_model
from transformers import LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config

LLAMA3_ROPE = {
    "rope_type": "llama3", "rope_theta": 10000.0, "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip

FAMILIES = {
    "llama3-rope": LlamaConfig(**SHAPE, rope_parameters=LLAMA3_ROPE),
    "mistral-window": MistralConfig(**SHAPE, sliding_window=24, head_dim=8),  # every document is longer than the window
    "qwen2-bias": Qwen2Config(**SHAPE, tie_word_embeddings=True),
    "qwen3-qk-norm": Qwen3Config(**SHAPE, head_dim=16),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_families(tmp_path, tokenizer, corpus, family):
    folder = save_model(tmp_path / "model", tokenizer, FAMILIES[family])
    still = {"lr": 1e-60, "min_lr": 0.0, "weight_decay": 0.0, "warmup_steps": 0}
    train = recipe(epochs=1, optimizer=still, parallel={"tensor": 2})
    assert run_job(tmp_path / "run", folder, corpus, train, world=2) == 0
    (parity,) = [p for p in events(tmp_path / "run", "proof") if p["name"] == "parity"]
    assert parity["value"] < 1e-5
    before = load_file(folder / "model.safetensors")
    after = load_file(tmp_path / "run/exports/epoch-1/model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_bf16_keeps_fp32_main_weights(tmp_path, model, corpus):
    """The curve follows float32's, and steps smaller than a bf16 weight can hold are not lost over a resume."""
    assert run_job(tmp_path / "whole", model, corpus, recipe()) == 0
    assert run_job(tmp_path / "bf16", model, corpus, recipe(precision="bf16", stop_after_steps=3)) == 75
    assert run_job(tmp_path / "bf16", model, corpus, recipe(precision="bf16")) == 0
    fp32, bf16 = ([e["loss"] for e in events(tmp_path / out, "step")] for out in ("whole", "bf16"))
    assert bf16 == pytest.approx(fp32, rel=0.02)
