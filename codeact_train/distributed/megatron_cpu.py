"""Patches that let Megatron-Core run without a CUDA device, and a few that every machine needs.

Contract: call :func:`install` once, before a model is built. Megatron names the device "cuda" in about forty places;
on a machine without CUDA the name ``torch`` in its loaded modules is rebound to a module that answers "cpu". The real
``torch`` is untouched. :func:`fake_cuda_types` covers the few places where Megatron asks a tensor for its CUDA type.
Cost: one attribute look-up. The patches were written against 0.16.1 and 0.19.2; none changes what is computed.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import queue
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from codeact_train.distributed.cuda import has_cuda

_FACTORIES = (
    "arange",
    "empty",
    "full",
    "ones",
    "rand",
    "randn",
    "tensor",
    "zeros",
    "zeros_like",
    "empty_like",
    "ones_like",
)
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h
# Megatron imports these modules inside functions; they must be loaded for their name ``torch`` to be rebound.
_LAZY_MODULES = (
    "dist_checkpointing.exchange_utils",
    "dist_checkpointing.strategies.async_utils",
    "dist_checkpointing.strategies.filesystem_async",
    "dist_checkpointing.strategies.fully_parallel",
    "dist_checkpointing.strategies.state_dict_saver",
    "dist_checkpointing.strategies.torch",
    "models.gpt.gpt_model",
    "optimizer.distrib_optimizer",
    "pipeline_parallel.p2p_communication",
    "pipeline_parallel.schedules",
)


def install() -> None:
    """Apply the patches; those that redirect "cuda" to the CPU only on a machine without CUDA."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns that Transformer Engine and Apex are not installed
        for name in _LAZY_MODULES:
            importlib.import_module(f"megatron.core.{name}")
    _save_without_manager_process()
    _fuse_gradient_accumulation()
    _allow_recompute_without_fp8()
    _recompute_without_compiler()
    if has_cuda():
        return
    _keep_freed_memory()
    torch_on_cpu = _TorchOnCpu()
    for name, module in list(sys.modules.items()):
        if name.startswith("megatron.core") and getattr(module, "torch", None) is torch:
            module.torch = torch_on_cpu  # type: ignore[attr-defined]
    random = importlib.import_module("megatron.core.tensor_parallel.random")
    random._get_cuda_rng_state = lambda *_, **__: torch.get_rng_state()  # type: ignore[attr-defined]
    random._set_cuda_rng_state = lambda state, *_, **__: torch.set_rng_state(state)  # type: ignore[attr-defined]


def _save_without_manager_process() -> None:
    """Give the checkpoint writer an ordinary queue for its results.

    Megatron starts a manager process for the results of background savers, which imports the main module a second time.
    Here a thread of this process writes, so a queue inside the process is enough.
    """
    writer = importlib.import_module("megatron.core.dist_checkpointing.strategies.filesystem_async")
    writer._results_queue = queue.Queue()  # type: ignore[attr-defined]


def _fuse_gradient_accumulation() -> None:
    """Provide the one Apex function Megatron needs to accumulate weight gradients inside the matrix product.

    For each micro-batch this avoids a temporary as large as each weight, and a pass over it.
    """
    layers = importlib.import_module("megatron.core.tensor_parallel.layers")
    if not layers._grad_accum_fusion_available:
        add = types.SimpleNamespace(wgrad_gemm_accum_fp32=_add_product, wgrad_gemm_accum_fp16=_add_product)
        layers.fused_weight_gradient_mlp_cuda = add  # type: ignore[attr-defined]
        layers._grad_accum_fusion_available = True  # type: ignore[attr-defined]


def _recompute_without_compiler() -> None:
    """Copy recomputed activations into the storage of the discarded ones.

    Megatron-Core 0.19 lets both share one storage with a C++ extension, which it compiles in the first backward pass of
    ``recompute: selective``. A compilation that was killed leaves a lock for which every later job waits.
    """
    random = importlib.import_module("megatron.core.tensor_parallel.random")
    if not hasattr(random, "_get_share_storage"):
        return  # earlier versions copy

    def copy_storage(discarded: torch.Tensor, recomputed: torch.Tensor) -> None:
        source = recomputed.untyped_storage()
        target = discarded.untyped_storage()
        target.resize_(source.nbytes())
        target.copy_(source)

    random._get_share_storage = lambda: copy_storage  # type: ignore[attr-defined]


def _allow_recompute_without_fp8() -> None:
    """Make selective recomputation work without Transformer Engine.

    Megatron's ``CheckpointWithoutOutput`` treats every ``fp8`` but ``None`` as true, including its own default.
    """
    random = importlib.import_module("megatron.core.tensor_parallel.random")
    random.CheckpointWithoutOutput.__init__.__defaults__ = (None,)


def _add_product(inputs_TI: torch.Tensor, gradient_TO: torch.Tensor, main_OI: torch.Tensor) -> None:
    if inputs_TI.dtype == main_OI.dtype:
        torch.addmm(main_OI, gradient_TO.t(), inputs_TI, out=main_OI)
    else:
        main_OI.add_(gradient_TO.t() @ inputs_TI)


def _keep_freed_memory() -> None:
    """Make glibc keep freed memory instead of returning it and faulting it in again, page by page, in each step.

    Measured on SmolLM2-135M: 120,000 page faults a step, a few per cent of its time, become a dozen. C libraries
    without ``mallopt`` are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)


@contextlib.contextmanager
def fake_cuda_types() -> Iterator[None]:
    """Make CPU tensors report CUDA type names, which Megatron's optimizers and savers check for."""
    with contextlib.nullcontext() if has_cuda() else _CudaNames():
        yield


class _CudaNames(TorchFunctionMode):
    """``tensor.type()`` returns ``torch.cuda.*``; moving a tensor to CUDA leaves it where it is."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.Tensor.type and len(args) == 1 and not kwargs:
            return func(*args).replace("torch.", "torch.cuda.", 1)
        if func is torch.Tensor.cuda or (func is torch.Tensor.to and _is_cuda(args[1:2], kwargs)):
            return args[0]
        return func(*args, **kwargs)


def _is_cuda(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    device = args[0] if args else kwargs.get("device")
    return str(device).startswith("cuda") if isinstance(device, str | torch.device) else False


class _TorchOnCpu(types.ModuleType):
    """``torch`` whose factories treat "cuda" as "cpu", with a ``cuda`` namespace whose only device is the CPU."""

    def __init__(self) -> None:
        super().__init__("torch")
        self.cuda = _CudaOnCpu()
        for name in _FACTORIES:
            setattr(self, name, _on_cpu(getattr(torch, name)))

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


def _on_cpu(factory: Callable[..., Any]) -> Callable[..., Any]:
    def create_on_cpu(*args: Any, **kwargs: Any) -> Any:
        if _is_cuda((), kwargs):
            kwargs["device"] = "cpu"
        return factory(*args, **kwargs)

    return create_on_cpu


class _CudaOnCpu(types.ModuleType):
    """The part of ``torch.cuda`` that Megatron calls outside its GPU-only paths."""

    def __init__(self) -> None:
        super().__init__("torch.cuda")

    def __getattr__(self, name: str) -> Any:
        return getattr(torch.cuda, name)

    current_device = staticmethod(lambda: "cpu")
    device_count = staticmethod(lambda: 1)
    synchronize = empty_cache = staticmethod(lambda *_: None)
    manual_seed = staticmethod(torch.manual_seed)
    get_rng_state = staticmethod(lambda *_: torch.get_rng_state())
    set_rng_state = staticmethod(lambda state, *_: torch.set_rng_state(state))
    Stream = current_stream = default_stream = staticmethod(lambda *_, **__: _NoStream())
    stream = staticmethod(lambda *_: contextlib.nullcontext())


class _NoStream:
    """A CUDA stream with nothing queued."""

    def wait_stream(self, *_: Any) -> None:
        """Nothing to wait for."""

    def synchronize(self) -> None:
        """Nothing to wait for."""
