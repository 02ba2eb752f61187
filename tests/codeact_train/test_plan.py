"""The cost model: exact where it is arithmetic, near published runs where it is not, and a miniature of a job that
trains."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import Qwen2Config

from codeact_train.config.train import TrainConfig, TrainJob
from codeact_train.model.spec import ModelSpec
from codeact_train.plan import published, step_time
from codeact_train.plan.estimate import estimate, rank
from codeact_train.plan.hardware import CLUSTERS, Cluster
from codeact_train.plan.kernels import TRAINER
from codeact_train.plan.layout import ParallelLayout, parallel_layouts
from codeact_train.plan.memory import memory
from codeact_train.plan.miniature import miniature
from codeact_train.plan.model_cost import ModelCost
from codeact_train.plan.shapes import shipped_folder, shipped_model
from codeact_train.plan.workload import Workload, mean_context
from tests.helpers.training import recipe, run_job

SMALL = ModelCost(layers=4, hidden=64, ffn=160, heads=8, kv_heads=4, head_dim=8, vocab=300)
PAPER = {"global_batch_packs": 32, "epochs": 5}


@pytest.fixture(scope="module")
def llama() -> ModelCost:
    return shipped_model("llama-2-7b")


@pytest.fixture(scope="module")
def a100() -> Cluster:
    return Cluster.load("4xa100-40g")


def test_parameters_are_those_of_the_published_checkpoints(llama: ModelCost) -> None:
    assert llama.parameters == 6_738_415_616
    assert shipped_model("mistral-7b").parameters == 7_241_732_096
    assert shipped_model("llama-3-8b").parameters == 8_030_261_248
    assert 6 * llama.matrices == pytest.approx(39.64e9, rel=1e-3)


@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=5), window=st.one_of(st.none(), st.integers(1, 50)))
def test_mean_context_counts_the_keys_each_query_sees(lengths: list[int], window: int | None) -> None:
    seen = [min(i + 1, window or i + 1) for n in lengths for i in range(n)]
    assert mean_context(np.array(lengths), window) == pytest.approx(sum(seen) / len(seen))


def test_the_published_runs_are_met(llama: ModelCost) -> None:
    compared = published.compare()
    assert published.missed(compared) == []
    assert {one.fitted for one in compared} == {True, False}


def test_a_cost_model_that_is_off_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_time, "BANDWIDTH_SHARE", 0.2)
    assert "Llama-2-7B 4k, A100 80" in published.missed(published.compare())


def sizes(model: ModelCost, layout: ParallelLayout, cluster: Cluster, tokens: int = 4096) -> Any:
    return memory(model, layout, TRAINER, cluster, tokens=tokens, trained=tokens, in_flight=8)


def test_eighteen_bytes_a_weight_shared_as_the_layout_says(llama: ModelCost, a100: Cluster) -> None:
    whole = sizes(llama, ParallelLayout(), a100)
    norms = (2 * llama.layers + 1) * llama.hidden
    assert whole.weights + whole.gradients + whole.optimizer == pytest.approx(18 * (llama.parameters - norms) / 1e9)
    tensor = sizes(llama, ParallelLayout(tensor=4, sequence_parallel=True), a100)
    assert tensor.gradients == pytest.approx(whole.gradients / 4)
    shared = sizes(llama, ParallelLayout(data=4, distributed_optimizer=True), a100)
    assert (shared.weights, shared.optimizer) == (whole.weights, pytest.approx(whole.optimizer / 4))
    assert whole.total == pytest.approx(
        whole.weights + whole.gradients + whole.optimizer + whole.activations + whole.logits + whole.reserve
    )


def test_recomputation_trades_memory_for_time(llama: ModelCost, a100: Cluster) -> None:
    work = Workload.assumed(4096, None, TrainConfig(**PAPER), packs=19379)
    kinds = [
        estimate(llama, a100, work, ParallelLayout(4, sequence_parallel=True, recompute=kind))
        for kind in ("none", "selective", "full")
    ]
    held = [one.memory.activations for one in kinds]
    took = [one.time.total for one in kinds]
    assert held == sorted(held, reverse=True) and took == sorted(took) and len(set(held) & set(took)) == 0
    assert kinds[0].memory.fits and kinds[0].epoch_s == pytest.approx(606 * took[0])


def test_layouts_use_every_gpu_and_divide_the_model(a100: Cluster) -> None:
    cluster = a100.model_copy(update={"nodes": 2})
    found = list(parallel_layouts(SMALL, cluster, 32))
    assert len({(one.name, one.recompute) for one in found}) == len(found)
    assert {one.gpus for one in found} == {8}
    assert all(SMALL.kv_heads % one.tensor == 0 and SMALL.layers % one.pipeline == 0 for one in found)
    products = {
        (t, p, c, 8 // (t * p * c))
        for t, p, c in itertools.product((1, 2, 4, 8), repeat=3)
        if 8 % (t * p * c) == 0 and t <= 4 and p <= 4
    }
    assert {(one.tensor, one.pipeline, one.context, one.data) for one in found} == products


def test_what_fits_comes_first_and_the_fastest_of_it(llama: ModelCost, a100: Cluster) -> None:
    ranked = rank(llama, a100, Workload.assumed(4096, None, TrainConfig(**PAPER), packs=None))
    fitting = [one for one in ranked if one.memory.fits]
    assert ranked[: len(fitting)] == fitting and 0 < len(fitting) < len(ranked)
    assert fitting == sorted(fitting, key=lambda one: -one.tokens_per_s)


def test_mfu_is_the_rate_times_the_models_operations_over_the_peak(llama: ModelCost, a100: Cluster) -> None:
    work = Workload.assumed(4096, None, TrainConfig(**PAPER), packs=None)
    one = estimate(llama, a100, work, ParallelLayout(4, sequence_parallel=True))
    flops = 6 * llama.matrices + 3 * 4 * 4096 * 2048.5 * 32
    assert one.mfu == pytest.approx(one.tokens_per_s * flops / (4 * 312e12))
    assert one.tokens_per_s == pytest.approx(32 * 4096 / one.time.total)


def test_a_budget_of_tokens_decides_batches_and_memory(llama: ModelCost, a100: Cluster) -> None:
    train = TrainConfig(global_batch_tokens=100_000, micro_batch_tokens=1000)
    work = replace(Workload.assumed(4096, None, train, packs=100), largest_micro=1000)
    assert (work.step_tokens, work.micro_batches(2)) == (100_000, 50)
    assert work.steps_per_epoch == train.steps_per_epoch(100, 100 * 4096, 4096)
    alone = Workload.assumed(4096, None, train, packs=100)  # a document longer than the budget goes alone
    assert alone.largest_micro == 4096


def test_fewer_steps_than_the_warm_up_are_not_planned() -> None:
    train = TrainConfig(**PAPER, optimizer={"warmup_steps": 50})
    with pytest.raises(ValueError, match=r"warmup_steps=50 is not below the 20 steps of this run \(100 packs"):
        Workload.assumed(4096, None, train, packs=100)


def test_a_corpus_says_what_a_step_computes(corpus: Path) -> None:
    work = Workload.from_corpus(corpus, None, TrainConfig(global_batch_packs=2))
    assert 0 < work.trained_share < 1 and work.micro_tokens <= 320 and work.steps_per_epoch
    assert 1 < work.context < Workload.assumed(320, None, TrainConfig(), None).context


@pytest.mark.parametrize("name", sorted(path.stem for path in CLUSTERS.glob("*.yaml")))
def test_every_shipped_cluster_can_be_planned_for(name: str) -> None:
    cluster = Cluster.load(name)
    assert cluster.name == name and cluster.gpu.gemm_tflops < cluster.gpu.peak_tflops
    assert list(parallel_layouts(SMALL, cluster, 64))


def test_an_unknown_cluster_names_the_known_and_a_wrong_one_its_fault(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"launch.cluster=nowhere: .*4xa100-40g"):
        Cluster.load("nowhere")
    (tmp_path / "odd.yaml").write_text("gpus_per_node: none\n")
    with pytest.raises(ValueError, match=r"odd.yaml is not a valid cluster description: .*gpus_per_node: .*integer"):
        Cluster.load(str(tmp_path / "odd.yaml"))


def test_shapes_are_found_by_hub_id() -> None:
    assert shipped_folder("mistralai/Mistral-7B-v0.1").name == "mistral-7b"
    assert shipped_folder("nobody/nothing") is None


def test_the_miniature_has_the_windows_of_its_model(tmp_path: Path) -> None:
    """Qwen names the layers that have one; the miniature has fewer layers."""
    Qwen2Config(use_sliding_window=True, sliding_window=4096, max_window_layers=31).save_pretrained(tmp_path / "large")
    spec = ModelSpec.read(tmp_path / "large")
    job = TrainJob.model_validate_json(miniature(spec, recipe(), tmp_path / "small").read_text())
    small = ModelSpec.read(job.model)
    assert [bool(window) for window in small.windows] == [False, True]
    assert ModelCost.from_spec(spec).windowed == 1 / 32
    assert (spec.window, small.qkv_bias) == (None, True)


def test_the_miniature_of_a_recipe_trains_in_its_layout(tmp_path: Path) -> None:
    folder = shipped_folder("mistralai/Mistral-7B-v0.1")
    assert folder
    spec = ModelSpec.read(folder)
    train = recipe(
        parallel={"tensor": 4, "sequence_parallel": True}, precision="bf16", recompute="full",
        stop_after_steps=1, checkpoint={"keep_best": True},
    )  # fmt: skip
    job = TrainJob.model_validate_json(miniature(spec, train, tmp_path).read_text())
    small = ModelSpec.read(job.model)
    assert small.heads // small.kv_heads == spec.heads // spec.kv_heads and small.window
    assert job.train.parallel == train.parallel and job.train.recompute == "full"
    assert run_job(tmp_path / "out", Path(job.model), Path(job.corpus), job.train, world=4) == 0
    assert (tmp_path / "out" / "exports" / "epoch-1" / "model.safetensors").is_file()
