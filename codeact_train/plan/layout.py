"""How a job is spread over GPUs, and every way it can be.

Contract: :func:`layouts` yields each product TP x PP x CP x DP of the cluster's GPUs that divides the model, with each
kind of recomputation; whether one fits is for ``memory`` to say. Tensor-parallel groups never leave a node.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from codeact_train.config.train import TrainConfig
from codeact_train.plan.hardware import Cluster
from codeact_train.plan.model_cost import ModelCost

Recompute: TypeAlias = Literal["none", "selective", "half", "full"]
"""How much of the forward backward computes again: nothing, norms and gates, every other product (torchtitan's
selective recomputation), everything."""
TRAINERS: tuple[Recompute, ...] = ("none", "selective", "full")
"""Those the trainer has."""


@dataclass(frozen=True)
class Layout:
    """Sizes of the groups of processes, and what is shared or computed again to save memory."""

    tensor: int = 1
    pipeline: int = 1
    context: int = 1
    data: int = 1
    sequence_parallel: bool = False
    distributed_optimizer: bool = False
    overlap: bool = False
    recompute: Recompute = "none"
    fully_sharded: bool = False
    """Weights, gradients and optimizer cut over the data-parallel group and gathered layer by layer (FSDP). Published
    runs did this; the trainer does not."""

    @classmethod
    def of(cls, train: TrainConfig, gpus: int) -> Layout:
        """The layout a configuration asks for on so many GPUs, which ``validate`` has found divisible."""
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
        """GPUs that hold the same weights: data and context parallel ones."""
        return self.data * self.context

    @property
    def optimizer_shards(self) -> int:
        """Over how many GPUs the optimizer's state is cut beside what tensor and pipeline cut."""
        return self.replicas if self.fully_sharded or self.distributed_optimizer else 1

    @property
    def name(self) -> str:
        """For a table: ``TP4 DP2``."""
        sizes = {"TP": self.tensor, "PP": self.pipeline, "CP": self.context, "DP": self.data}
        words = [f"{axis}{size}" for axis, size in sizes.items() if size > 1]
        return " ".join(words) or "one GPU"


def layouts(model: ModelCost, cluster: Cluster, micro_batches: int) -> Iterator[Layout]:
    """Every layout that uses all GPUs of ``cluster``, divides the model, and leaves each replica one of the step's
    ``micro_batches``."""
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
                for recompute in TRAINERS:
                    yield Layout(tensor, pipeline, context, data, tensor > 1, shared, shared, recompute)


def _divisors(number: int) -> list[int]:
    return [d for d in range(1, number + 1) if number % d == 0]
