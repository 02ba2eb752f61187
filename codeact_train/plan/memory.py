"""Memory of the fullest GPU, by kind.

Contract: arithmetic on shapes; the one assumed number is :data:`RESERVE_GB`. Bytes per weight: 2 for the bf16 weight, 4
for its fp32 gradient, 12 for the optimizer's fp32 main weight and two moments. Activations are what backward needs of
one layer, in elements of 2 bytes:

    hidden     input of each norm and its output (4), attention's output (1)        5 h
    heads      queries and keys after RoPE, values                                  q + 2 kv
               with norms of queries and keys: also the product they come from      2 q + 3 kv
               where several processes share a key-value head, each has its whole width, and the norms keep the product
               of all processes
    MLP        both halves of the first product, and the gate's kept tensors         ``KernelTraffic.gate_kept`` f

Tensor parallelism divides heads and MLP, sequence parallelism the rest too. Pipeline stage 0 holds as many
micro-batches as there are stages.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from codeact_train.plan.hardware import Cluster
from codeact_train.plan.kernels import KernelTraffic
from codeact_train.plan.layout import ParallelLayout
from codeact_train.plan.model_cost import ModelCost

GB = 1e9
RESERVE_GB = 1.6
"""Assumed: CUDA context, NCCL and cuBLAS work space, fragmentation."""
TIGHT_GB = 1.0
"""Assumed: with less memory left than this, the estimate cannot decide whether the job fits."""


@dataclass(frozen=True)
class Memory:
    """Memory of the fullest GPU, in units of 1e9 bytes."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    logits: float
    reserve: float
    limit: float

    @property
    def total(self) -> float:
        """The sum without the limit."""
        return sum(getattr(self, field.name) for field in fields(self) if field.name != "limit")

    @property
    def fits(self) -> bool:
        """Whether the sum is within the GPU's memory."""
        return self.total <= self.limit

    @property
    def verdict(self) -> str:
        """The result in words."""
        if not self.fits:
            return f"no, {self.total - self.limit:.1f} GB over"
        return "tight" if self.limit - self.total < TIGHT_GB else "fits"


def memory(
    model: ModelCost,
    layout: ParallelLayout,
    kernels: KernelTraffic,
    cluster: Cluster,
    *,
    tokens: float,
    trained: float,
    in_flight: int,
) -> Memory:
    """Memory of a job.

    ``tokens``: positions per micro-batch. ``trained``: positions of those with loss. ``in_flight``: micro-batches of a
    step, which bounds the number in the pipeline at once.
    """
    weights = stage_weights(model, layout)
    shards = layout.data if layout.fully_sharded else 1
    here = tokens / layout.context
    kept = layer_activations(model, layout, kernels)
    layers = model.layers // layout.pipeline
    held = min(layout.pipeline, in_flight)
    activations = here * layers * held * kept * 2
    if layout.recompute == "full":  # one layer at a time is recomputed
        whole = layer_activations(
            model, ParallelLayout(layout.tensor, sequence_parallel=layout.sequence_parallel), kernels
        )
        activations += here * whole * 2
    return Memory(
        weights=2 * weights / shards / GB,
        gradients=4 * weights / shards / GB,
        optimizer=12 * weights / layout.optimizer_shards / GB,
        activations=activations / GB,
        logits=trained / layout.context * model.vocab / layout.tensor * kernels.logit_bytes / GB,
        reserve=RESERVE_GB,
        limit=cluster.gpu.memory_gib * 2**30 / GB,
    )


def stage_weights(model: ModelCost, layout: ParallelLayout) -> float:
    """Weights of one GPU on the fullest pipeline stage: its layers, and the embedding, the head, or both."""
    ends = (1 if model.tied else 2) if layout.pipeline == 1 else 1
    return (model.layers / layout.pipeline * model.layer_matrices + ends * model.head) / layout.tensor


def layer_activations(model: ModelCost, layout: ParallelLayout, kernels: KernelTraffic) -> float:
    """Elements a GPU keeps per position and layer until backward."""
    cut = layout.tensor if layout.sequence_parallel else 1
    if layout.recompute == "full":
        return model.hidden / cut
    hidden, gate = 5, kernels.gate_kept
    if layout.recompute == "selective":  # outputs of norms and of the gate are recomputed
        hidden, gate = 3, 2
    queries, keys = model.query_width / layout.tensor, model.kv_width_of(layout.tensor)
    heads = queries + 2 * keys
    if model.qk_norm:  # the norms keep the product, and the values stay a view into it
        product = model.query_width + 2 * model.kv_width
        heads += (product if model.kv_shared(layout.tensor) else product / layout.tensor) - keys
    return hidden * model.hidden / cut + heads + gate * model.ffn / layout.tensor
