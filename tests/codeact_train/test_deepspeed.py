"""DeepSpeed trains what Megatron trains, and what it has no mapping for; stages differ in place, not in result."""

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from transformers import AutoModelForCausalLM, GPT2Config, MambaConfig, PreTrainedTokenizerFast, T5Config

from codeact_train import train
from codeact_train.checkpoint.manager import CheckpointManager
from codeact_train.config.train import TrainConfig
from codeact_train.model.spec import read_config
from codeact_train.parity import reference_loop
from codeact_train.parity.toy_models import save_model
from codeact_train.system import exit_codes
from tests.helpers.runs import flops, gradient_is_not_finite, outcome, reads_and_writes
from tests.helpers.training import events, recipe, run_job, start_job, write_job

pytest.importorskip("deepspeed", reason="DeepSpeed is not installed: pip install 'codeact[deepspeed]'")

from codeact_train.backends.deepspeed import state
from codeact_train.backends.deepspeed.forward import Forward
from codeact_train.backends.deepspeed.model import load

TOLERANCE = 1e-5  # relative, in float32, of losses and gradient norms over at least 20 steps
TOKENS: dict[str, Any] = {"vocab_size": 301, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
# its dropout of a tenth stays in the configuration: the backend turns it off
GPT2 = GPT2Config(n_embd=64, n_layer=2, n_head=8, n_positions=512, initializer_range=0.1, **TOKENS)
# it has no positions and knows no bounds: documents that follow one another are one to it
MAMBA = MambaConfig(hidden_size=16, num_hidden_layers=1, state_size=4, initializer_range=0.1, **TOKENS)

SLOW = functools.partial(pytest.param, marks=pytest.mark.slow)  # a case of what a quicker one shows already


def deepspeed(**changes: object) -> TrainConfig:
    return recipe(backend="deepspeed", **changes)


def curve(out: Path) -> list[tuple[float, float]]:
    """Loss and gradient norm of each step, then the validation losses."""
    steps = [(e["loss"], e["grad_norm"]) for e in events(out, "step")]
    return steps + [(e["loss"], 0.0) for e in events(out, "validation")]


def close(points: list[tuple[float, float]], rel: float = TOLERANCE) -> list[object]:
    return [pytest.approx(point, rel=rel) for point in points]


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    return save_model(tmp_path_factory.mktemp("gpt2"), tokenizer, GPT2)


@pytest.fixture(scope="module")
def mamba(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    return save_model(tmp_path_factory.mktemp("mamba"), tokenizer, MAMBA)


@pytest.fixture(scope="module")
def megatron_run(tmp_path_factory: pytest.TempPathFactory, model: Path, corpus: Path) -> Path:
    out = tmp_path_factory.mktemp("megatron")
    assert run_job(out, model, corpus, recipe(epochs=7, peak_tflops=1.0)) == 0
    assert len(events(out, "step")) > 20
    return out


@pytest.fixture(scope="module")
def megatron(megatron_run: Path) -> list[tuple[float, float]]:
    return curve(megatron_run)


@pytest.mark.parametrize("stage", [1, 2, SLOW(3)])
def test_every_stage_trains_what_megatron_trains(
    tmp_path: Path, model: Path, corpus: Path, megatron_run: Path, megatron: list[tuple[float, float]], stage: Any
) -> None:
    assert run_job(tmp_path, model, corpus, deepspeed(epochs=7, zero={"stage": stage}, peak_tflops=1.0), world=2) == 0
    assert curve(tmp_path) == close(megatron)
    for own, other in zip(events(tmp_path, "step"), events(megatron_run, "step"), strict=True):
        assert own.keys() == other.keys()
        assert own["accuracy"] == other["accuracy"]
        assert flops(own) * 2 == pytest.approx(flops(other), rel=1e-3)  # two processes share the work
    assert {p["name"] for p in events(tmp_path, "startup_check")} == {"leak", "parity", "audit", "prompt", "partition"}


@pytest.mark.parametrize("zero", [{"stage": 2, "offload": "optimizer"}, SLOW({"stage": 3, "offload": "all"})])
def test_what_lies_in_the_hosts_memory_trains_the_same(
    tmp_path: Path, model: Path, corpus: Path, megatron: list[tuple[float, float]], zero: Any
) -> None:
    assert run_job(tmp_path, model, corpus, deepspeed(epochs=7, stop_after_steps=4, zero=zero), world=2) == 75
    assert curve(tmp_path)[:4] == close(megatron[:4])


def test_a_family_without_a_mapping_trains_like_a_plain_loop(tmp_path: Path, gpt2: Path, corpus: Path) -> None:
    config = deepspeed(epochs=7, recompute="full", micro_batch_packs=2)
    assert run_job(tmp_path, gpt2, corpus, config) == 0
    steps = events(tmp_path, "step")
    theirs = reference_loop.run(train.read_job(tmp_path / "job.json"), len(steps))
    assert len(steps) > 20
    assert [(e["loss"], e["grad_norm"]) for e in steps] == close([point[:2] for point in theirs])
    last = events(tmp_path, "validation")[-1]["loss"]
    assert last == pytest.approx(theirs[-1][2], rel=TOLERANCE)


def test_a_family_that_mixes_packed_documents_gets_a_row_for_each(tmp_path: Path, mamba: Path, corpus: Path) -> None:
    assert run_job(tmp_path, mamba, corpus, deepspeed(stop_after_steps=2), world=2) == 75
    (start,) = events(tmp_path, "start")
    assert start["attention"].endswith("a row a document")
    theirs = reference_loop.run(train.read_job(tmp_path / "job.json"), 2)
    assert curve(tmp_path) == close([point[:2] for point in theirs])


def test_the_leak_check_sees_documents_mixed(
    tmp_path: Path, mamba: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Forward, "keeps_apart", lambda self, vocab, device: True)
    assert run_job(tmp_path, mamba, corpus, deepspeed(startup_checks=["leak"])) == exit_codes.CHECK_FAILED


@pytest.mark.parametrize("stage", [SLOW(1), 2, 3])
def test_bf16_keeps_fp32_main_weights(
    tmp_path: Path, model: Path, corpus: Path, megatron: list[tuple[float, float]], stage: Any
) -> None:
    """The curve follows float32's, and steps smaller than a bf16 weight can hold are not lost over a resume."""
    bf16 = {"epochs": 7, "precision": "bf16", "zero": {"stage": stage}}
    assert run_job(tmp_path, model, corpus, deepspeed(**bf16, stop_after_steps=3)) == 75
    assert run_job(tmp_path, model, corpus, deepspeed(**bf16, stop_after_steps=8)) == 75
    losses = [e["loss"] for e in events(tmp_path, "step")]
    assert losses == pytest.approx([loss for loss, _ in megatron[:8]], rel=0.02)


def late(find: Callable[..., Any]) -> Callable[..., Any]:
    """The function, as a process finds it that is slower than the first."""

    def finds(*arguments: Any) -> Any:
        time.sleep(0.5 * (torch.distributed.get_rank() > 0))
        return find(*arguments)

    return finds


def test_stopped_terminated_and_resumed_is_bit_for_bit(
    tmp_path: Path, gpt2: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CheckpointManager, "find", late(CheckpointManager.find))
    shared = {"zero": {"stage": 3}}
    assert run_job(tmp_path / "whole", gpt2, corpus, deepspeed(**shared), world=2) == 0
    halves = tmp_path / "halves"
    assert run_job(halves, gpt2, corpus, deepspeed(**shared, stop_after_steps=2), world=2) == 75
    asked = start_job(halves, gpt2, corpus, deepspeed(**shared), world=2)
    while asked[0].is_alive() and (halves / "metrics.jsonl").read_text().count('"kind": "start"') < 2:
        time.sleep(0.005)
    asked[1].terminate()
    for process in asked:
        process.join()
    assert [process.exitcode for process in asked] == [75, 75]
    assert run_job(halves, gpt2, corpus, deepspeed(**shared), world=2) == 0
    assert outcome(halves) == outcome(tmp_path / "whole")


STAGES = [
    ({"zero": {"stage": 3}}, 3),
    ({"zero": {"stage": 1}}, 1),
    ({"zero": {"stage": 2, "offload": "optimizer"}}, 2),
    ({"zero": {"stage": 3, "offload": "all"}}, 2),
    ({"zero": {"stage": 2}}, 3),
]


@pytest.mark.parametrize(("precision", "stages"), [("fp32", STAGES), SLOW("bf16", STAGES[:3])])
def test_any_stage_loads_any_other(tmp_path: Path, gpt2: Path, corpus: Path, precision: str, stages: Any) -> None:
    settings = {
        "backend": "deepspeed",
        "epochs": 2,
        "global_batch_packs": 1,
        "precision": precision,
        "startup_checks": (),
    }
    last = reads_and_writes(tmp_path / "chain", gpt2, corpus, stages, settings)
    go_on = recipe(**settings, stop_after_steps=last + 2, guard={"skip_steps": list(range(2, last + 1))})
    for out in ("chain", "alone"):
        assert run_job(tmp_path / out, gpt2, corpus, go_on) == 75
    after, wanted = ([e["loss"] for e in events(tmp_path / out, "step")] for out in ("chain", "alone"))
    assert len(after) == 3
    assert after == pytest.approx(wanted, rel=TOLERANCE if precision == "fp32" else 5e-3)


@pytest.mark.parametrize(("stage", "precision"), [SLOW(1, "bf16"), (2, "fp32"), SLOW(3, "bf16")])
def test_a_gradient_that_is_not_finite_is_not_taken(
    tmp_path: Path, gpt2: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch, stage: Any, precision: str
) -> None:
    settings = {"epochs": 1, "startup_checks": (), "zero": {"stage": stage}, "precision": precision}
    assert run_job(tmp_path / "named", gpt2, corpus, deepspeed(**settings, guard={"skip_steps": [2]}), 2) == 0
    gradient_is_not_finite(monkeypatch, state, at=2)
    assert run_job(tmp_path / "met", gpt2, corpus, deepspeed(**settings, guard={"skip_limit": 1}), 2) == 0
    assert [anomaly["at"] for anomaly in events(tmp_path / "met", "anomaly")] == [2]
    assert outcome(tmp_path / "met") == outcome(tmp_path / "named")


def test_an_optimizer_that_does_not_reach_the_weights_is_noticed(
    tmp_path: Path, gpt2: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state.DeepSpeedState, "optimizer_step", lambda self, lr: 1.0)
    (job,) = start_job(tmp_path, gpt2, corpus, deepspeed(startup_checks=(), checkpoint={"every_steps": 1}))
    job.join(timeout=240)
    assert job.exitcode == exit_codes.CORRUPT_STATE
    assert (tmp_path / "checkpoints" / "latest").read_text() == "step-000001"


def test_the_export_is_the_model_that_was_trained(tmp_path: Path, gpt2: Path, corpus: Path) -> None:
    """Nothing moves at a learning rate below the smallest float32, so it is the one that went in, dropout and all."""
    still = {"lr": 1e-60, "min_lr": 0.0, "weight_decay": 0.0, "warmup_steps": 0}
    train = deepspeed(epochs=1, optimizer=still, startup_checks=[], zero={"stage": 3})
    assert run_job(tmp_path, gpt2, corpus, train, world=2) == 0
    (said,) = events(tmp_path, "export")
    before, after = (AutoModelForCausalLM.from_pretrained(f) for f in (gpt2, tmp_path / said["path"]))
    assert after.config.attn_pdrop == before.config.attn_pdrop > 0
    assert before.state_dict().keys() == after.state_dict().keys()
    assert all(torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters(), strict=True))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parallel": {"tensor": 2}}, "zero.stage"),
        ({"recompute": "selective"}, "recompute=full"),
        ({"attention": "varlen"}, "sdpa"),
        ({"zero": {"stage": 2, "offload": "all"}}, "stage=3"),
    ],
)
def test_what_deepspeed_cannot_do_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        deepspeed(**changes)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here, so nothing is missing")
@pytest.mark.parametrize("kernel", ["flash", "flex"])
def test_a_named_kernel_that_is_absent_is_refused(gpt2: Path, kernel: str) -> None:
    with pytest.raises(ValueError, match=f"^attention={kernel}: there is no CUDA device here; choose one of sdpa"):
        load(gpt2, read_config(gpt2), deepspeed(attention=kernel))


def test_a_model_that_does_not_predict_the_next_token_is_refused(tmp_path: Path, corpus: Path) -> None:
    T5Config().save_pretrained(tmp_path / "t5")
    config = write_job(tmp_path, tmp_path / "t5", corpus, deepspeed())
    assert train.main(["--config", str(config)]) == exit_codes.BAD_CONFIG
