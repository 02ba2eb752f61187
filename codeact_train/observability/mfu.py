"""Model FLOPs utilisation: what a step had to compute against what its processors could have.

    FLOPs = 6 * (layer matrices * real tokens + head * trained tokens)
            + 12 * layers * query width * keys seen
    MFU   = FLOPs / (seconds * processes * peak)

Contract: 6 operations a weight and token (2 forward, 4 backward); attention counts the keys each token really sees,
within its document and window, forward 4 operations a key and channel, backward twice that. The head counts where it is
needed, at trained tokens: counting it everywhere would call skipped work done. Padding and recomputation are no part of
it. The arithmetic of a model is ``plan.model_cost``'. There is no figure where no peak is known, as on a CPU.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from codeact_train.config.train import TrainJob
from codeact_train.data.collate import MicroBatch
from codeact_train.distributed.parallel_context import Place
from codeact_train.model.spec import ModelSpec
from codeact_train.plan.model_cost import ModelCost

PEAK_TFLOPS = {"A100": 312.0, "H100": 989.0, "H200": 989.0}
"""The maker's dense bf16 rate, by what the driver's name of a GPU contains."""


@dataclass(frozen=True)
class Utilisation:
    """Of one run. ``peak``: operations a second of all its processes."""

    model: ModelCost
    peak: float

    @classmethod
    def of(cls, job: TrainJob, place: Place) -> Utilisation | None:
        """None where the peak or the model's arithmetic is unknown."""
        peak_tflops = job.train.peak_tflops or _known_peak(place.device)
        if peak_tflops is None:
            return None
        try:
            spec = ModelSpec.read(job.model)
        except ValueError:  # a family without a mapping
            return None
        return cls(ModelCost.from_spec(spec), peak_tflops * 1e12 * place.world)

    def keys_seen(self, micro_batches: list[MicroBatch]) -> float:
        """Keys all real tokens of these sequences attend to in a mean layer, themselves included."""
        near = sum(_keys(micro, self.model.window) for micro in micro_batches)
        everything = sum(_keys(micro, None) for micro in micro_batches)
        return self.model.windowed * near + (1 - self.model.windowed) * everything

    def share(self, *, real: float, trained: float, keys: float, seconds: float) -> float:
        """MFU, as a fraction, of a step of so many tokens of all processes."""
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
        length = max(min(end, micro.real) - first, 0)  # what is beyond the real tokens is padding
        near = min(length, window or length)
        total += near * (near + 1) // 2 + (length - near) * near
    return total


def _known_peak(device: torch.device) -> float | None:
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak for part, peak in PEAK_TFLOPS.items() if part in name), None)
