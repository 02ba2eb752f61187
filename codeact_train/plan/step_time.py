"""Time of one optimizer step, by kind, from an explicit cost model.

The model, for a micro-batch of T positions on one GPU of a layout TP t, PP p, CP c:

    products        2 operations per weight, T/c positions, 1/t of the weights, at ``gemm_tflops``;
                    backward twice forward; full recomputation one more forward
    attention       ``ModelCost.attention_forward`` at ``attention_tflops``; backward 2.5 forward
    element-wise    ``KernelTraffic`` passes of 2 bytes at BANDWIDTH_SHARE of the memory's bandwidth; backward twice
                    forward; selective recomputation repeats norms and gate, full recomputation everything
    tensor          6 exposed collectives per layer (4 more when recomputed): Megatron overlaps the other 4 of its
                    10 with weight gradients. One costs latency + bytes (t-1)/t / bus. More processes than key-value
                    heads gather the product of queries, keys and values once more, and scatter its gradient
    context         keys and values gathered twice and their gradients scattered once per layer
    pipeline        two transfers per micro-batch, and (p-1) micro-batches of waiting per step
    data            once per step, gradients reduced in fp32 and bf16 weights gathered; overlapped with the last
                    backward if ``overlap``, else exposed
    sharded (FSDP)  weights gathered twice and gradients scattered once per micro-batch; SHARDED_EXPOSED of it shows
    optimizer       OPTIMIZER_BYTES per weight of the GPU's share

Contract: predictions, not measurements. Four numbers are calibrated on the published runs of ``plan.published``: the
two rates of each GPU, BANDWIDTH_SHARE, and ``traffic.SHARDED_EXPOSED``. Not modelled: the input pipeline, clock
throttling, stragglers, uneven documents over CP ranks, kernel launches (significant below about 1,000 positions per
micro-batch).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from codeact_train.plan.hardware import Cluster
from codeact_train.plan.kernels import KernelTraffic
from codeact_train.plan.layout import ParallelLayout, Recompute
from codeact_train.plan.memory import stage_weights
from codeact_train.plan.model_cost import ModelCost
from codeact_train.plan.traffic import between_replicas, within_replica

BANDWIDTH_SHARE = 0.60
"""Calibrated: share of the memory's bandwidth that element-wise kernels reach."""
RECOMPUTED_SHARE: dict[Recompute, float] = {"none": 0.0, "selective": 0.0, "half": 0.5, "full": 1.0}
"""Share of the forward's matrix products and attention that backward recomputes."""
OPTIMIZER_BYTES = 40
"""Counted: fused AdamW reads 4 fp32 values and writes 3 and a bf16 weight (30), the norm reads and zeroing writes the
gradient (8), rounded up for the norm's second pass over partial sums.
"""


@dataclass(frozen=True)
class StepTime:
    """Seconds of one optimizer step on the busiest GPU, by kind."""

    products: float
    attention: float
    elementwise: float
    head: float
    gradients: float
    communication: float
    waiting: float
    optimizer: float

    @property
    def total(self) -> float:
        """Seconds of the whole step."""
        return sum(getattr(self, field.name) for field in fields(self))


def step_time(
    model: ModelCost,
    layout: ParallelLayout,
    kernels: KernelTraffic,
    cluster: Cluster,
    *,
    tokens: float,
    context: float,
    trained: float,
    micro_batches: int,
) -> StepTime:
    """Time of a step of ``micro_batches`` per replica.

    ``tokens``: positions per micro-batch. ``context``: mean number of visible keys. ``trained``: positions with loss.
    """
    gpu, layers, here = cluster.gpu, model.layers / layout.pipeline, tokens / layout.context
    again = RECOMPUTED_SHARE[layout.recompute]
    bandwidth = gpu.memory_gb_s * 1e9 * BANDWIDTH_SHARE
    products = 2 * model.layer_matrices / layout.tensor * here * layers / (gpu.gemm_tflops * 1e12)
    attention = model.attention_forward(context) / layout.tensor * here * layers / (gpu.attention_tflops * 1e12)
    everything, cheap = _passes(model, layout, kernels)
    moved = everything * (3 + again) + (cheap if layout.recompute == "selective" else 0)
    logits = trained / layout.context * model.vocab / layout.tensor
    head = 6 * logits * model.hidden / (gpu.gemm_tflops * 1e12) + logits * kernels.loss_bytes / bandwidth
    weights = stage_weights(model, layout)
    shards = layout.data if layout.fully_sharded else 1
    parts = {
        "products": products * (3 + again),
        "attention": attention * (3.5 + again),
        "elementwise": moved * 2 * here * layers / bandwidth,
        "head": head,
        "gradients": weights / shards * kernels.gradient_bytes / bandwidth,
        "communication": within_replica(model, layout, cluster, here=here, again=again),
    }
    micro_s = sum(parts.values())
    total = {name: seconds * micro_batches for name, seconds in parts.items()}
    total["communication"] += between_replicas(layout, cluster, weights, micro_s)
    return StepTime(
        **total,
        waiting=(layout.pipeline - 1) * micro_s,
        optimizer=weights / layout.optimizer_shards * OPTIMIZER_BYTES / bandwidth,
    )


def _passes(model: ModelCost, layout: ParallelLayout, kernels: KernelTraffic) -> tuple[float, float]:
    """Elements moved per position and layer in forward on a GPU: all of them, and those of norms and gate."""
    cut = layout.tensor if layout.sequence_parallel else 1
    hidden = kernels.hidden * model.hidden / cut
    rotary = kernels.rotary * (model.query_width / layout.tensor + model.kv_width_of(layout.tensor))
    gate = kernels.gate * model.ffn / layout.tensor
    return hidden + rotary + gate, hidden + gate
