"""Exposed traffic between GPUs, in seconds: the part that does not overlap with computation.

Contract: part of the cost model stated in ``step_time``. A group has intra-node bandwidth when all its members are in
one node, else a GPU's share of the network; ranks are ordered TP, CP, DP, PP.
"""

from __future__ import annotations

from codeact_train.plan.hardware import Cluster
from codeact_train.plan.layout import ParallelLayout
from codeact_train.plan.model_cost import ModelCost

SHARDED_EXPOSED = 0.37
"""Calibrated: exposed share of FSDP's traffic."""
BUS_SHARE = 0.75
"""Assumed: share of a link's bandwidth that a collective reaches (225 of 300 GB/s on NVLink 3)."""
LATENCY_S = 15e-6
"""Assumed: latency of one collective."""


def _collective_s(bytes_whole: float, size: int, bandwidth_gb_s: float) -> float:
    """Seconds of an all-gather or reduce-scatter of ``bytes_whole`` in total, over ``size`` GPUs in a ring."""
    return 0.0 if size == 1 else LATENCY_S + bytes_whole * (size - 1) / size / (bandwidth_gb_s * 1e9 * BUS_SHARE)


def _bandwidth(cluster: Cluster, spanned: int) -> float:
    """Bandwidth of a group whose members are within ``spanned`` neighbouring GPUs."""
    return cluster.intra_gb_s if spanned <= cluster.gpus_per_node else cluster.inter_gb_s


def within_replica(model: ModelCost, layout: ParallelLayout, cluster: Cluster, *, here: float, again: float) -> float:
    """Tensor, context, pipeline and FSDP traffic of one micro-batch of ``here`` positions per GPU, with ``again`` of
    its forward recomputed."""
    layers = model.layers / layout.pipeline
    activation = here * model.hidden * 2
    tensor = (6 + 4 * again) * layers * _collective_s(activation, layout.tensor, _bandwidth(cluster, layout.tensor))
    if model.kv_shared(layout.tensor):
        product = here * (model.query_width + 2 * model.kv_width) * 2
        tensor += (2 + again) * layers * _collective_s(product, layout.tensor, _bandwidth(cluster, layout.tensor))
    keys = 2 * here * layout.context * model.kv_width_of(layout.tensor) * 2
    inner = layout.tensor * layout.context
    context = 3 * layers * _collective_s(keys, layout.context, _bandwidth(cluster, inner))
    handed = 2 * activation / layout.tensor / (_bandwidth(cluster, cluster.gpus) * 1e9 * BUS_SHARE)
    return tensor + context + (handed if layout.pipeline > 1 else 0.0) + _sharded(model, layout, cluster)


def _sharded(model: ModelCost, layout: ParallelLayout, cluster: Cluster) -> float:
    """Weights gathered twice and gradients scattered once per micro-batch."""
    if not layout.fully_sharded:
        return 0.0
    gathered = _collective_s(2 * model.parameters / layout.tensor, layout.data, _bandwidth(cluster, layout.gpus))
    return 3 * SHARDED_EXPOSED * gathered


def between_replicas(layout: ParallelLayout, cluster: Cluster, weights: float, micro_s: float) -> float:
    """Gradients reduced and weights gathered over the replicas, once per step.

    With overlap, the last micro-batch's backward, two thirds of its time, hides as much as it can.
    """
    if layout.fully_sharded:
        return 0.0
    bandwidth = _bandwidth(cluster, layout.tensor * layout.replicas)
    back = 2 if layout.distributed_optimizer else 4  # bf16 weights, or the other half of an all-reduce
    traffic = _collective_s((4 + back) * weights, layout.replicas, bandwidth)
    return max(0.0, traffic - micro_s * 2 / 3) if layout.overlap else traffic
