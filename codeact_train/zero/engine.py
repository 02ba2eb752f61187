"""The one place that knows DeepSpeed: its settings, its start, and the doors used of it.

Contract: gradients of micro-batches are summed in float32 over micro-batches and averaged over processes, clipped by
their global norm and given to torch's AdamW, which also updates what lies in the host's memory; nothing of DeepSpeed's
is compiled. Written against DeepSpeed 0.19.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from typing import Any

from codeact_train import compat

os.environ.setdefault("DS_ACCELERATOR", "cuda" if compat.has_cuda() else "cpu")  # or DeepSpeed says that it guesses

import deepspeed
import deepspeed.ops
import torch
from deepspeed.utils import logger, safe_get_full_grad
from torch import Tensor, nn
from torch.optim import AdamW

from codeact_train.config import TrainConfig, ZeroSettings

# Nothing is to be compiled. One collective would be, at the first start on a CPU: it takes minutes and is of use to
# inference only; finding out what can be compiled already starts compilers.
deepspeed.ops.__compatible_ops__ = {}
logger.setLevel("ERROR")
warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.distributed\.c10d_logger")  # of its calls


def start(model: nn.Module, train: TrainConfig, device: torch.device) -> tuple[Any, AdamW]:
    """DeepSpeed's engine around ``model``, and the optimizer whose groups carry the learning rate."""
    settings = _settings(train, width=model.get_input_embeddings().weight.shape[1])  # type: ignore[operator]
    optimizer = _optimizer(model, train)
    os.environ.setdefault("LOCAL_RANK", "0")  # DeepSpeed wants it where one process runs without torchrun, too
    deepspeed.init_distributed(verbose=False)
    if train.zero.stage == 3:  # weights go to their places one by one; otherwise all would go to every GPU first
        deepspeed.zero.Init(module=model, config_dict_or_path=settings)
        for buffer in model.buffers():
            buffer.data = buffer.data.to(device)
    engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=settings)
    return engine, optimizer


def forget(engine: Any) -> None:
    """Drop the gradients of a step that is not taken, as DeepSpeed's own step does those of one it skips."""
    optimizer = engine.optimizer
    optimizer.zero_grad()
    if engine.zero_optimization_stage() < 3:
        optimizer.micro_step_id = -1
        getattr(optimizer, "averaged_gradients", {}).clear()


def settle(engine: Any) -> None:
    """Put shared weights back to where they lie: a forward pass that no backward pass follows leaves some on their
    way."""
    engine.empty_partition_cache()


def full_gradient(parameter: nn.Parameter) -> Tensor:
    """The whole gradient of a parameter, after the last micro-batch of a step. All processes must ask."""
    return safe_get_full_grad(parameter)


def whole(tensor: Tensor) -> contextlib.AbstractContextManager[Any]:
    """Within this, a weight that is shared between processes is whole in each. All processes must enter."""
    shared = hasattr(tensor, "ds_id")
    return deepspeed.zero.GatheredParameters([tensor]) if shared else contextlib.nullcontext()


def _optimizer(model: nn.Module, train: TrainConfig) -> AdamW:
    """AdamW with weight decay on matrices only; ``wd_mult`` is what Megatron's schedule looks for."""
    settings = train.optimizer
    matrices, vectors = ([p for p in model.parameters() if (p.ndim > 1) == wide] for wide in (True, False))
    groups = [{"params": matrices, "wd_mult": 1.0}, {"params": vectors, "wd_mult": 0.0}]
    betas = (settings.beta1, settings.beta2)
    return AdamW(groups, lr=settings.lr, betas=betas, eps=settings.eps, weight_decay=0.0, fused=True)


def _settings(train: TrainConfig, width: int) -> dict[str, Any]:
    """DeepSpeed's configuration; ``width`` is the model's. Sizes of buckets follow transformers' own rule."""
    return {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,  # whoever calls says which micro-batch is a step's last
        "gradient_clipping": train.optimizer.clip,
        "bf16": {"enabled": train.precision == "bf16"},
        "data_types": {"grad_accum_dtype": "fp32"},
        "communication_data_type": "fp32",
        "zero_force_ds_cpu_optimizer": False,
        "zero_optimization": {
            "stage": train.zero.stage,
            "reduce_bucket_size": width * width,
            "stage3_prefetch_bucket_size": width * width * 9 // 10,
            "stage3_param_persistence_threshold": 10 * width,
            **_offload(train.zero),
        },
        "steps_per_print": None,
    }


def _offload(zero: ZeroSettings) -> dict[str, Any]:
    to_host = {"device": "cpu", "pin_memory": torch.cuda.is_available()}
    kinds = {"none": (), "optimizer": ("offload_optimizer",), "all": ("offload_optimizer", "offload_param")}
    return dict.fromkeys(kinds[zero.offload], to_host)
