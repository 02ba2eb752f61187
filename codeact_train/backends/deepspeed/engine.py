"""The only module that calls DeepSpeed: its settings, its start, and the functions used of it.

Contract: gradients are summed in float32 over micro-batches, averaged over processes, clipped by their global norm and
given to torch's AdamW, which also updates state that is offloaded to the host. No DeepSpeed operator is compiled.
Written against DeepSpeed 0.19.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from typing import Any

from codeact_train.checkpoint import optimizer_state
from codeact_train.distributed.cuda import has_cuda

# without it DeepSpeed warns that it guesses
os.environ.setdefault("DS_ACCELERATOR", "cuda" if has_cuda() else "cpu")

import deepspeed
import deepspeed.ops
import torch
import torch.distributed as dist
import torch.nn.functional as F
from deepspeed.utils import (
    logger,
    safe_get_full_fp32_param,
    safe_get_full_grad,
    safe_get_full_optimizer_state,
    safe_set_full_fp32_param,
    safe_set_full_optimizer_state,
    safe_set_local_fp32_param,
    safe_set_local_optimizer_state,
)
from torch import Tensor, nn
from torch.optim import AdamW

from codeact_train.config.train import TrainConfig, ZeroSettings

# Keeps DeepSpeed from compiling operators. It would compile one collective at the first start on a CPU, which takes
# minutes and serves inference only; even asking what can be compiled starts compilers.
deepspeed.ops.__compatible_ops__ = {}
logger.setLevel("ERROR")
warnings.filterwarnings(
    "ignore", category=FutureWarning, module=r"torch\.distributed\.c10d_logger"
)  # DeepSpeed's calls


def start(model: nn.Module, train: TrainConfig, device: torch.device) -> tuple[Any, AdamW]:
    """DeepSpeed's engine around ``model``, and the optimizer whose groups carry the learning rate."""
    settings = _settings(train, width=model.get_input_embeddings().weight.shape[1])  # type: ignore[operator]
    optimizer = _optimizer(model, train)
    os.environ.setdefault("LOCAL_RANK", "0")  # DeepSpeed needs it in a single process without torchrun, too
    deepspeed.init_distributed(verbose=False)
    if train.zero.stage == 3:  # partition weights one by one; otherwise every GPU would hold all of them first
        deepspeed.zero.Init(module=model, config_dict_or_path=settings)
        for buffer in model.buffers():
            buffer.data = buffer.data.to(device)
    engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=settings)
    _allocate(engine)
    return engine, optimizer


def drop_gradients(engine: Any) -> None:
    """Drop all gradients, as DeepSpeed's step does when it skips an update."""
    optimizer = engine.optimizer
    optimizer.zero_grad()
    if engine.zero_optimization_stage() < 3:
        optimizer.micro_step_id = -1
        getattr(optimizer, "averaged_gradients", {}).clear()


def release_gathered(engine: Any) -> None:
    """Release weights that stage 3 has gathered: a forward pass without a backward pass leaves some gathered."""
    engine.empty_partition_cache()


def full_gradient(parameter: nn.Parameter) -> Tensor:
    """The whole gradient of a parameter, after the last micro-batch of a step. All processes must call it."""
    return safe_get_full_grad(parameter)


def gathered(tensor: Tensor, *, change: bool = False) -> contextlib.AbstractContextManager[Any]:
    """Context in which a partitioned weight is whole in every process; with ``change``, the first process's changes are
    kept. All processes must enter it."""
    if not hasattr(tensor, "ds_id"):
        return contextlib.nullcontext()
    return deepspeed.zero.GatheredParameters([tensor], modifier_rank=0 if change else None)


def shape(parameter: nn.Parameter) -> torch.Size:
    """Shape of the whole weight, partitioned or not."""
    return getattr(parameter, "ds_shape", parameter.shape)


def get_state(parameter: nn.Parameter, kind: str) -> Tensor:
    """The whole main weight or moment (``optimizer_state.state_names``) of a parameter, float32. All processes must
    call it."""
    return safe_get_full_fp32_param(parameter) if kind == "param" else safe_get_full_optimizer_state(parameter, kind)


def set_state(parameter: nn.Parameter, kind: str, value: Tensor) -> None:
    """Set what :func:`get_state` returns; every process passes the whole ``value``."""
    if hasattr(parameter, "ds_id"):
        share = _share(parameter, value)  # the setters of whole tensors need an even division
        if kind == "param":
            safe_set_local_fp32_param(parameter, share)
        else:
            safe_set_local_optimizer_state(parameter, share, kind)
    elif kind == "param":
        safe_set_full_fp32_param(parameter, value)
    else:
        safe_set_full_optimizer_state(parameter, value, kind)


def _share(parameter: Any, value: Tensor) -> Tensor:
    """This process's part of a whole tensor, flat."""
    size = parameter.ds_tensor.numel()
    padded = F.pad(value.flatten(), (0, size * dist.get_world_size() - value.numel()))
    return padded.narrow(0, size * dist.get_rank(), size)


def _allocate(engine: Any) -> None:
    """Allocate the optimizer's state before the first step, so that it can be saved and loaded."""
    shares = engine.optimizer
    if engine.zero_optimization_stage() == 3:
        optimizer_state.allocate(shares.optimizer, shares.fp32_partitioned_groups_flat)
    else:
        optimizer_state.allocate(
            shares.optimizer, [p for group in shares.optimizer.param_groups for p in group["params"]]
        )
        shares._lazy_init_hp_params_optimizer_state()


def _optimizer(model: nn.Module, train: TrainConfig) -> AdamW:
    """AdamW with weight decay on matrices only; Megatron's schedule reads ``wd_mult``."""
    settings = train.optimizer
    matrices, vectors = ([p for p in model.parameters() if (p.ndim > 1) == wide] for wide in (True, False))
    groups = [{"params": matrices, "wd_mult": 1.0}, {"params": vectors, "wd_mult": 0.0}]
    betas = (settings.beta1, settings.beta2)
    return AdamW(groups, lr=settings.lr, betas=betas, eps=settings.eps, weight_decay=0.0, fused=True)


def _settings(train: TrainConfig, width: int) -> dict[str, Any]:
    """DeepSpeed's configuration; ``width`` is the model's hidden size. Bucket sizes follow transformers' rule."""
    return {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,  # the caller marks a step's last micro-batch
        "gradient_clipping": train.optimizer.clip_grad,
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
    to_host = {"device": "cpu", "pin_memory": has_cuda()}
    kinds = {"none": (), "optimizer": ("offload_optimizer",), "all": ("offload_optimizer", "offload_param")}
    return dict.fromkeys(kinds[zero.offload], to_host)
