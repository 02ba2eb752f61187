"""Parallel layouts: how a job is distributed over GPUs, and all layouts of a cluster.

Contract: :func:`parallel_layouts` yields each product TP x PP x CP x DP of the cluster's GPUs that divides the model,
with each kind of recomputation. It does not check memory (``memory`` does). Tensor-parallel groups stay within a node.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from codeact_train.config.train import TrainConfig
from codeact_train.plan.hardware import Cluster
from codeact_train.plan.model_cost import ModelCost

Recompute: TypeAlias = Literal["none", "selective", "half", "full"]
"""How much of the forward pass backward recomputes: nothing, norms and gates, every other product (torchtitan's
selective recomputation), everything.
"""
TRAINER_RECOMPUTE: tuple[Recompute, ...] = ("none", "selective", "full")
"""The kinds the trainer supports."""


@dataclass(frozen=True)
class ParallelLayout:
    """Sizes of the process groups, and the memory-saving options."""

    tensor: int = 1
    pipeline: int = 1
    context: int = 1
    data: int = 1
    sequence_parallel: bool = False
    distributed_optimizer: bool = False
    overlap: bool = False
    recompute: Recompute = "none"
    fully_sharded: bool = False
    """Weights, gradients and optimizer sharded over the data-parallel group and gathered layer by layer (FSDP).
    Published runs use it; the trainer does not support it."""

    @classmethod
    def from_config(cls, train: TrainConfig, gpus: int) -> ParallelLayout:
        """The layout of a configuration on ``gpus`` GPUs; ``validate`` has checked divisibility."""
        parallel = train.parallel
        return cls(
            tensor=parallel.tensor,
            pipeline=parallel.pipeline,
            context=parallel.context,
            data=gpus // parallel.replica,
            sequence_parallel=parallel.sequence_parallel,
            distributed_optimizer=parallel.distributed_optimizer,
            overlap=parallel.overlap,
            recompute=train.recompute,
        )

    @property
    def gpus(self) -> int:
        """Processes of the job."""
        return self.tensor * self.pipeline * self.context * self.data

    @property
    def replicas(self) -> int:
        """GPUs that hold the same weights: data- and context-parallel ones."""
        return self.data * self.context

    @property
    def optimizer_shards(self) -> int:
        """Number of GPUs that share the optimizer state, beyond tensor and pipeline parallelism."""
        return self.replicas if self.fully_sharded or self.distributed_optimizer else 1

    @property
    def name(self) -> str:
        """Name for tables, such as ``TP4 DP2``."""
        sizes = {"TP": self.tensor, "PP": self.pipeline, "CP": self.context, "DP": self.data}
        words = [f"{axis}{size}" for axis, size in sizes.items() if size > 1]
        return " ".join(words) or "one GPU"


def parallel_layouts(model: ModelCost, cluster: Cluster, micro_batches: int) -> Iterator[ParallelLayout]:
    """Every layout that uses all GPUs of ``cluster``, divides the model, and leaves each replica at least one of the
    step's ``micro_batches``."""
    for tensor in _divisors(cluster.gpus_per_node):
        if not model.fits_heads(tensor) or model.ffn % tensor:
            continue
        for pipeline in _divisors(cluster.gpus // tensor):
            if model.layers % pipeline:
                continue
            for context in _divisors(cluster.gpus // tensor // pipeline):
                data = cluster.gpus // (tensor * pipeline * context)
                if data > micro_batches:
                    continue
                shared = data * context > 1
                for recompute in TRAINER_RECOMPUTE:
                    yield ParallelLayout(tensor, pipeline, context, data, tensor > 1, shared, shared, recompute)


def _divisors(number: int) -> list[int]:
    return [d for d in range(1, number + 1) if number % d == 0]
