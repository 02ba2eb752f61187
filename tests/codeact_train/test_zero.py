"""DeepSpeed trains what Megatron trains, and what Megatron has no mapping for; stages differ in place, not in result."""

import pytest
from train_jobs import events, recipe, run_job
from transformers import GPT2Config

pytest.importorskip("deepspeed", reason="DeepSpeed is not installed: pip install 'codeact[deepspeed]'")

TOLERANCE = 1e-5
GPT2 = GPT2Config(
    vocab_size=301, n_embd=64, n_layer=2, n_head=8, n_positions=512, initializer_range=0.1, eos_token_id=2
)  # its dropout of 0.1 stays as it is: the backend turns it off


def zero(**changes):
    return recipe(backend="deepspeed", **changes)


def curve(out):
    steps = [(e["loss"], e["grad_norm"]) for e in events(out, "step")]
    return steps + [(e["loss"], 0.0) for e in events(out, "validation")]


@pytest.fixture(scope="module")
def megatron(tmp_path_factory, model, corpus):
    out = tmp_path_factory.mktemp("megatron")
    assert run_job(out, model, corpus, recipe(epochs=4)) == 0
    return curve(out)


def test_first(tmp_path, model, corpus, megatron):
    assert run_job(tmp_path, model, corpus, zero(epochs=4)) == 0
    assert curve(tmp_path) == [pytest.approx(p, rel=TOLERANCE) for p in megatron]
