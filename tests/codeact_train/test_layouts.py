"""Every layout computes the same training run, and the one an independent loop computes."""

import importlib.util
import json
import multiprocessing
import subprocess
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from megatron.core import tensor_parallel
from safetensors.torch import load_file
from torch.utils._python_dispatch import TorchDispatchMode

from codeact_train.backends.megatron import forward_backward
from codeact_train.config.train import TrainJob
from codeact_train.data.corpus import Corpus
from codeact_train.data.sampler import Sampler
from codeact_train.distributed import parallel_context
from codeact_train.model import attention
from codeact_train.model.gpt import build
from codeact_train.model.spec import ModelSpec
from codeact_train.parity import layouts, processes
from codeact_train.parity.cases import ROWS, Row, present
from codeact_train.plan import validate
from codeact_train.system import exit_codes
from codeact_train.trainer import Trainer
from tests.helpers.processes import in_world
from tests.helpers.training import events, recipe, run_job

STEPS = 2  # from the second on, moments of the first and a second gather of weights count


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> layouts.Report:
    return layouts.compare(STEPS, tmp_path_factory.mktemp("startup_check"))


@pytest.mark.parametrize("family", ["llama", "mistral"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_layouts_agree(report: layouts.Report, row: Any, family: str) -> None:
    (verdict,) = [v for v in report.verdicts if (v.row, v.family) == (row.name, family)]
    assert verdict.holds, verdict


def test_the_result_as_json(report: layouts.Report) -> None:
    said = report.as_json()
    assert said["holds"] is True
    assert len(said["rows"]) == 2 * len(ROWS)
    assert said["left_out"] == []
    twenty = [row["row"] for row in said["rows"] if row["steps"] == 20]
    assert twenty == [
        name
        for name in ("one document at a time", "transformers and torch AdamW", "DeepSpeed ZeRO-1")
        for _ in range(2)
    ]


def test_without_deepspeed_its_rows_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert {row.name for row in ROWS} - {row.name for row in present(ROWS)} == {
        row.name for row in ROWS if row.settings.get("backend") == "deepspeed"
    }


@pytest.mark.slow
def test_the_command_holds_over_all_its_steps() -> None:
    command = [sys.executable, "-m", "launch.cli", "prove", "layouts", "--json"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert said.returncode == 0, said.stderr
    assert len(json.loads(said.stdout)["rows"]) == 2 * len(ROWS)


TP2 = {"parallel": {"tensor": 2}}


def mean_of_means(losses: torch.Tensor, weights: torch.Tensor, total: torch.Tensor) -> torch.Tensor:
    return (losses * weights).sum() / weights.sum() / 3


def test_a_row_fails_when_layouts_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward_backward, "normalised", mean_of_means)
    report = layouts.compare(
        1, tmp_path, rows=[Row("one document at a time", 1, {"micro_batch_tokens": 1}), Row("packed")]
    )
    assert not report.holds
    assert [v.holds for v in report.verdicts] == [True, True, False, False]


def test_a_gradient_norm_that_counts_replicated_weights_twice_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kind of fault of Megatron-LM issue 7452, reproduction 8: loss and weights agree, the norm does not."""
    monkeypatch.setattr(tensor_parallel, "param_is_not_tensor_parallel_duplicate", lambda *_, **__: True)
    report = layouts.compare(
        1, tmp_path, rows=[Row("one document at a time", 1, {"micro_batch_tokens": 1}), Row("TP2", 2, TP2)]
    )
    assert [v.holds for v in report.verdicts] == [True, True, False, False]


def test_a_row_takes_as_many_steps_as_asked_and_no_fewer_than_its_own(tmp_path: Path) -> None:
    reference = Row("one document at a time", 1, {"micro_batch_tokens": 1}, steps=2)
    report = layouts.compare(3, tmp_path, rows=[reference, Row("packed")])
    assert report.holds
    assert {v.steps for v in report.verdicts} == {3}


def test_a_finished_process_is_not_taken_for_dead_while_the_first_still_sends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    curve, send = (1.0, 2.0, 3.0), Connection.send
    monkeypatch.setattr(processes, "_curve", lambda run, world: [curve])
    monkeypatch.setattr(Connection, "send", lambda self, sent: time.sleep(0.5) or send(self, sent))
    job: Any = None  # `_curve` does not read it
    assert list(processes.run([processes.LayoutRun(job, 1)], 2, tmp_path / "runs")) == [[curve]]


def test_a_process_that_dies_says_why(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="there is no CUDA device here"):
        layouts.compare(1, tmp_path, rows=[Row("on a GPU", 1, {"attention": "flash"})])


PIPELINE = {"tensor": 2, "sequence_parallel": True, "pipeline": 2}


@pytest.mark.parametrize("kind", ["tied", "untied"])
def test_a_pipeline_exports_what_went_in(
    tmp_path: Path, model: Path, untied_model: Path, corpus: Path, kind: str
) -> None:
    folder = {"tied": model, "untied": untied_model}[kind]
    still = {"lr": 1e-60, "min_lr": 0.0, "weight_decay": 0.0, "warmup_steps": 0}
    assert run_job(tmp_path, folder, corpus, recipe(epochs=1, optimizer=still, parallel=PIPELINE), world=4) == 0
    before, after = load_file(folder / "model.safetensors"), load_file(tmp_path / "exports/epoch-1/model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert {p["name"] for p in events(tmp_path, "startup_check")} == {"leak", "parity", "audit", "prompt", "partition"}


def blind_on_the_second_stage(
    self: Any,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    *,
    packed_seq_params: Any,
    **rest: Any,
) -> Any:
    if parallel_context.parallel_state.get_pipeline_model_parallel_rank() == 1:
        spans = attention.Spans.from_bounds((0, q.shape[0]), 0, q.shape[0])
        packed_seq_params = attention.PackedLayout(spans, None, packed_seq_params.cos, packed_seq_params.sin)
    return sound_attention(self, q, k, v, packed_seq_params=packed_seq_params)


sound_attention = attention.PackedAttention.forward


def test_a_leak_on_a_later_stage_is_caught(
    tmp_path: Path, model: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention.PackedAttention, "forward", blind_on_the_second_stage)
    train = recipe(startup_checks=["leak"], parallel={"pipeline": 2})
    assert run_job(tmp_path, model, corpus, train, world=2) == exit_codes.CHECK_FAILED


def test_the_layout_must_divide_processes_and_layers(model: Path) -> None:
    with pytest.raises(ValueError, match=r"parallel.tensor=2 × parallel.pipeline=2 = 4 does not divide the 6"):
        validate(recipe(parallel={"tensor": 2, "pipeline": 2}), model, processes=6)
    with pytest.raises(ValueError, match=r"parallel.pipeline=3 does not divide the model's 2 layers; .*\[1, 2\]"):
        validate(recipe(parallel={"pipeline": 3}), model, processes=3)


def documents_of(corpus: Corpus, sampler: Sampler, step: int) -> list[int]:
    return sorted(d for pack in sampler.packs_of(step) for d in sampler.plan[int(pack)])


def test_micro_batches_by_tokens_hold_the_same_documents(corpus: Path) -> None:
    opened = Corpus(corpus)
    longest = int((opened.lengths - 1)[opened.packs().document].max())
    for budget in (1, 100, longest, 700):
        parts = [Sampler(opened, "train", recipe(micro_batch_tokens=budget), rank, 3) for rank in range(3)]
        packed = Sampler(opened, "train", recipe())
        for step in range(packed.steps_per_epoch):
            shares = [part.batch(step) for part in parts]
            assert len({len(share.micro_batches) for share in shares}) == 1
            micro = [m for share in shares for m in share.micro_batches]
            assert all(m.slots <= max(budget, longest) for m in micro)
            assert all(m.slots <= budget or len(m.bounds) == 2 for m in micro)
            wanted = packed.batch(step)
            assert sum(m.real for m in micro) == wanted.counts[1]
            assert sum(share.counts[2] for share in shares) == wanted.counts[2]
            texts = sorted(m.tokens[0, a:b].tolist() for m in micro for a, b in _documents(m))
            assert texts == sorted(m.tokens[0, a:b].tolist() for m in wanted.micro_batches for a, b in _documents(m))


def _documents(micro: Any) -> list[tuple[int, int]]:
    """Bounds of the documents, without padding."""
    return [(a, b) for a, b in zip(micro.bounds[:-1], micro.bounds[1:], strict=True) if b <= micro.real]


@pytest.mark.parametrize("tokens", [1, 320, 700, 1500, 10**6])
def test_global_batches_by_tokens(corpus: Path, tokens: int) -> None:
    """Every pack once an epoch, no step empty, steps about as large as asked."""
    opened = Corpus(corpus)
    sampler = Sampler(opened, "train", recipe(global_batch_tokens=tokens))
    steps_of_epoch = [sampler.packs_of(step) for step in range(sampler.steps_per_epoch, 2 * sampler.steps_per_epoch)]
    assert sorted(np.concatenate(steps_of_epoch)) == list(range(len(sampler.plan)))
    sizes = [sampler.batch(step).counts[1] for step in range(sampler.steps_per_epoch)]
    assert min(sizes) > 0
    assert np.mean(sizes) <= max(tokens, 2 * opened.sequence_length)


class CountedReads(TorchDispatchMode):
    """Counts the values that are read back from tensors; on a GPU each read would wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.reads += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def reads_of_a_step(model: Path, corpus: Path) -> tuple[int, int]:
    train = recipe()
    job = TrainJob(model=str(model), corpus=str(corpus), out="", train=train)
    trainer = Trainer(job, parallel_context.initialize(train.parallel, 0))
    batch = trainer.sampler.batch(0)
    with CountedReads() as counted:
        trainer.state.forward_backward(batch)
    return len(batch.micro_batches), counted.reads


def test_no_value_is_read_back_for_each_micro_batch(model: Path, corpus: Path) -> None:
    micro_batches, reads = in_world(1, reads_of_a_step, model, corpus)
    assert micro_batches > 1 and reads == 0  # the sums are read as one list


def kept_bytes(folder: Path, corpus: Path, recompute: str, results: Any) -> None:
    """Bytes of activations that stay from the forward to the backward pass."""
    train = recipe(recompute=recompute)
    ctx = parallel_context.initialize(train.parallel, 0)
    spec = ModelSpec.read(folder)
    job = TrainJob(model=str(folder), corpus=str(corpus), out="", train=train)
    model = build(spec, job.train, ctx.device)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    kept = {}
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[id(tensor.untyped_storage())] = tensor
        return tensor

    (micro, *_) = Sampler(Corpus(corpus), "train", train).batch(0).micro_batches
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        graph = model(micro)
    assert graph.requires_grad
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in kept.values()}
    results.send(sum(size for place, size in storages.items() if place not in own))


def test_recomputation_keeps_less(model: Path, corpus: Path) -> None:
    context = multiprocessing.get_context("fork")
    kept = {}
    for recompute in ("none", "selective", "full"):
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=kept_bytes, args=(model, corpus, recompute, there))
        process.start()
        there.close()
        kept[recompute] = here.recv()
        process.join()
        assert process.exitcode == 0
    assert kept["selective"] < 0.85 * kept["none"]
    assert kept["full"] < 0.5 * kept["selective"]
