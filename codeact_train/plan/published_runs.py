"""Published training runs against which the cost model is checked: data only.

Contract: rates as printed by their sources, in tokens per second and GPU, over all positions. Where a source does not
state its kernels, its description of the software decides: eager torch, compiled, or torch's fused norm with the rest
eager.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from codeact_train.plan.kernels import EAGER, FUSED, TRAINER, KernelTraffic
from codeact_train.plan.layout import ParallelLayout, Recompute
from codeact_train.plan.model_cost import ModelCost
from codeact_train.plan.shapes import shipped_model

A40, A80, H100, H200 = "4xa100-40g", "8xa100-80g", "8xh100", "4xh200"

CODEACT = "github.com/xingyaoww/code-act docs/MODEL_TRAINING.md"
MOSAIC = "github.com/mosaicml/llm-foundry scripts/train/benchmarking/README.md"
IBM = "pytorch.org/blog/maximizing-training"
COMPILED = "pytorch.org/blog/maximizing-training-throughput (68 % MFU)"
FMS = "github.com/foundation-model-stack/fms-fsdp README.md"
TITAN = "github.com/pytorch/torchtitan docs/performance.md of 2024"
TITAN_24 = "github.com/pytorch/torchtitan benchmarks of December 2024"
KEMPNER = "github.com/KempnerInstitute/KempnerForge benchmarks/mfu_scaling"

# MPT has plain MLPs, ALiBi instead of a rotary embedding, and torch's fused LayerNorm
MPT_7B = ModelCost(32, 4096, 16384, 32, 32, 128, vocab=50432, tied=True, mlp_matrices=2)
MPT_13B = ModelCost(40, 5120, 20480, 40, 40, 128, vocab=50432, tied=True, mlp_matrices=2)
PLAIN = replace(EAGER, hidden=10, rotary=0, gate=2, gate_kept=2)


@dataclass(frozen=True)
class PublishedRun:
    """One published rate, and the settings it was measured with."""

    name: str
    source: str
    cluster: str
    model: ModelCost
    layout: ParallelLayout
    kernels: KernelTraffic
    sequence: int
    """Length of a document, in 1,024 positions."""
    micro: int
    """Length of a micro-batch of one replica, in 1,024 positions."""
    micro_batches: int
    """Micro-batches per replica and step."""
    published: float
    """Tokens per second and GPU."""


def _one_gpu(recompute: Recompute) -> ParallelLayout:
    """No parallelism."""
    return ParallelLayout(recompute=recompute)


def _sharded(gpus: int, recompute: Recompute = "none") -> ParallelLayout:
    """FSDP within one node. Larger jobs hid the traffic between nodes, or sharded within them, and are estimated the
    same way."""
    return ParallelLayout(data=gpus, fully_sharded=True, recompute=recompute)


def _tensor(size: int, data: int = 1) -> ParallelLayout:
    """Tensor and sequence parallel with full recomputation, FSDP over the rest."""
    return ParallelLayout(size, data=data, sequence_parallel=True, fully_sharded=data > 1, recompute="full")


def calibration() -> list[PublishedRun]:
    """The runs that the constants of the cost model were fitted to."""
    llama_7b, llama_13b = shipped_model("llama-2-7b"), shipped_model("llama-2-13b")
    llama_8b, mistral = shipped_model("llama-3-8b"), shipped_model("mistral-7b")
    return [
        PublishedRun("CodeAct Mistral-7B 16k", CODEACT, A40, mistral, _tensor(4), EAGER, 16, 16, 32, 2250),
        PublishedRun("MPT-7B 4k, A100 40", MOSAIC, A40, MPT_7B, _sharded(8, "full"), PLAIN, 4, 24, 4, 3366),
        PublishedRun("MPT-7B 16k, A100 40", MOSAIC, A40, MPT_7B, _sharded(8, "full"), PLAIN, 16, 16, 4, 2249),
        PublishedRun("MPT-7B 2k, A100 80", MOSAIC, A80, MPT_7B, _sharded(8), PLAIN, 2, 12, 2, 4641),
        PublishedRun("Llama-2-7B 4k, A100 80", IBM, A80, llama_7b, _sharded(8), EAGER, 4, 8, 1, 3700),
        PublishedRun("Llama-2-7B 4k, compiled", COMPILED, A80, llama_7b, _sharded(8), FUSED, 4, 8, 1, 4525),
        PublishedRun("Llama-2-13B 4k, A100 80", TITAN, A80, llama_13b, _sharded(8), TRAINER, 4, 8, 1, 2162),
        PublishedRun("Llama-3-8B 8k, A100 80", TITAN, A80, llama_8b, _sharded(8, "half"), TRAINER, 8, 8, 1, 2973),
        PublishedRun("8B 4k, one H200", KEMPNER, H200, llama_8b, _one_gpu("full"), FUSED, 4, 16, 2, 10471),
        PublishedRun("8B 4k, FSDP4 H200", KEMPNER, H200, llama_8b, _sharded(4, "full"), FUSED, 4, 16, 2, 9746),
        PublishedRun("8B 4k, TP4 H200", KEMPNER, H200, llama_8b, _tensor(4), FUSED, 4, 16, 2, 6284),
        PublishedRun("MPT-7B 4k, H100", MOSAIC, H100, MPT_7B, _sharded(8, "full"), PLAIN, 4, 64, 2, 8611),
        PublishedRun("MPT-7B 2k, H100", MOSAIC, H100, MPT_7B, _sharded(8), PLAIN, 2, 12, 1, 10643),
        PublishedRun("Llama-2-7B 4k, H100", FMS, H100, llama_7b, _sharded(8), EAGER, 4, 8, 1, 7500),
        PublishedRun("Llama-3.1-8B 8k, H100", TITAN_24, H100, llama_8b, _sharded(8, "half"), TRAINER, 8, 16, 1, 5762),
        PublishedRun("Llama-3.1-8B 8k, compiled", TITAN_24, H100, llama_8b, _sharded(8, "half"), FUSED, 8, 16, 1, 6667),
    ]  # fmt: skip


def held_out() -> list[PublishedRun]:
    """The runs not used for the fit."""
    llama_8b = shipped_model("llama-3-8b")
    return [
        PublishedRun("MPT-7B 8k, A100 40", MOSAIC, A40, MPT_7B, _sharded(8, "full"), PLAIN, 8, 24, 4, 2887),
        PublishedRun("MPT-7B 2k, A100 40", MOSAIC, A40, MPT_7B, _sharded(8, "full"), PLAIN, 2, 24, 4, 3679),
        PublishedRun("MPT-7B 4k, A100 80", MOSAIC, A80, MPT_7B, _sharded(8, "full"), PLAIN, 4, 64, 2, 3684),
        PublishedRun("MPT-7B 8k, A100 80", MOSAIC, A80, MPT_7B, _sharded(8, "full"), PLAIN, 8, 64, 2, 3206),
        PublishedRun("MPT-7B 16k, A100 80", MOSAIC, A80, MPT_7B, _sharded(8, "full"), PLAIN, 16, 64, 2, 2453),
        PublishedRun("MPT-13B 2k, A100 80", MOSAIC, A80, MPT_13B, _sharded(8), PLAIN, 2, 4, 3, 2262),
        PublishedRun("MPT-13B 4k, A100 80", MOSAIC, A80, MPT_13B, _sharded(8, "full"), PLAIN, 4, 40, 3, 2060),
        PublishedRun("8B 4k, FSDP2 H200", KEMPNER, H200, llama_8b, _sharded(2, "full"), FUSED, 4, 16, 2, 9364),
        PublishedRun("8B 4k, TP2 H200", KEMPNER, H200, llama_8b, _tensor(2), FUSED, 4, 16, 2, 6582),
        PublishedRun("8B 4k, TP2 FSDP2 H200", KEMPNER, H200, llama_8b, _tensor(2, 2), FUSED, 4, 16, 2, 6495),
    ]  # fmt: skip
