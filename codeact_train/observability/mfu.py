"""Model FLOPs utilisation: the operations a step needs over those its processors could have done.

    FLOPs = 6 * (layer matrices * real tokens + head * trained tokens)
            + 12 * layers * query width * keys seen
    MFU   = FLOPs / (seconds * processes * peak)

Contract: 6 operations a weight and token (2 forward, 4 backward). Attention counts the keys each token really sees,
within its document and window: 4 operations a key and channel forward, twice that backward. The head counts at trained
tokens only, where it is computed. Padding and recomputation do not count. ``plan.model_cost`` has the arithmetic.
There is no figure if the peak is unknown, as on a CPU.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from codeact_train.config.train import TrainConfig
from codeact_train.data.collate import MicroBatch
from codeact_train.distributed.parallel_context import ParallelContext
from codeact_train.model.spec import ModelSpec
from codeact_train.plan.model_cost import ModelCost

PEAK_TFLOPS = {"A100": 312.0, "H100": 989.0, "H200": 989.0}
"""The maker's dense bf16 rate, by a part of the GPU's name as the driver reports it."""


@dataclass(frozen=True)
class ModelFlopsUtilization:
    """MFU of one run. ``peak``: operations a second of all its processes."""

    model: ModelCost
    peak: float

    @classmethod
    def of_run(cls, spec: ModelSpec | None, train: TrainConfig, ctx: ParallelContext) -> ModelFlopsUtilization | None:
        """``None`` if the peak is unknown or the model has no ``spec``."""
        peak_tflops = train.peak_tflops or _known_peak(ctx.device)
        if peak_tflops is None or spec is None:
            return None
        return cls(ModelCost.from_spec(spec), peak_tflops * 1e12 * ctx.world)

    def keys_seen(self, micro_batches: list[MicroBatch]) -> float:
        """Keys that all real tokens of these sequences attend to in a mean layer, themselves included."""
        near = sum(_keys(micro, self.model.window) for micro in micro_batches)
        everything = sum(_keys(micro, None) for micro in micro_batches)
        return self.model.windowed * near + (1 - self.model.windowed) * everything

    def share(self, *, real: float, trained: float, keys: float, seconds: float) -> float:
        """MFU, as a fraction, of a step with these token counts over all processes."""
        model = self.model
        products = 6 * (model.layers * model.layer_matrices * real + model.head * trained)
        return (products + 3 * model.layers * model.attention_forward(keys)) / (seconds * self.peak)

    def __str__(self) -> str:
        model = self.model
        return (
            f"MFU = (6 * ({model.layers * model.layer_matrices:,} * real tokens + {model.head:,} * trained tokens) + "
            f"{12 * model.layers * model.query_width:,} * keys seen) / (seconds * {self.peak:.4g} operations a second)"
        )


def _keys(micro: MicroBatch, window: int | None) -> int:
    total = 0
    for first, end in zip(micro.bounds, micro.bounds[1:], strict=False):
        length = max(min(end, micro.real) - first, 0)  # without padding
        near = min(length, window or length)
        total += near * (near + 1) // 2 + (length - near) * near
    return total


def _known_peak(device: torch.device) -> float | None:
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak for part, peak in PEAK_TFLOPS.items() if part in name), None)
