"""Everything that makes Megatron-Core 0.16 run where there is no CUDA device; nothing happens where there is one.

Contract: :func:`install` is called once, before a model is built. Megatron names the device "cuda" in about forty
places; here the name ``torch`` inside its loaded modules is bound to a stand-in that answers "cpu". The real ``torch``
is untouched. :func:`cpu_tensors_pass` is for the few places where Megatron asks a tensor for its CUDA type. Cost: one
attribute look-up. Both rest on reading 0.16.1 and are pinned to it; nothing here changes what is computed.
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
# Modules Megatron imports inside functions; they must be loaded for their name ``torch`` to be rebound.
_LATE = (
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


def has_cuda() -> bool:
    """Whether tensors live on a CUDA device in this process."""
    return torch.cuda.is_available()


def install() -> None:
    """Make Megatron-Core's loaded modules use the CPU. Does nothing on a machine with CUDA."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that Transformer Engine and Apex are absent is meant
        for name in _LATE:
            importlib.import_module(f"megatron.core.{name}")
    _save_without_manager()
    _accumulate_gradients_in_gemm()
    _recompute_without_fp8()
    if has_cuda():
        return
    _keep_freed_memory()
    stand_in = _TorchOnCpu()
    for name, module in list(sys.modules.items()):
        if name.startswith("megatron.core") and getattr(module, "torch", None) is torch:
            module.torch = stand_in  # type: ignore[attr-defined]
    random = importlib.import_module("megatron.core.tensor_parallel.random")
    random._get_cuda_rng_state = lambda *_, **__: torch.get_rng_state()  # type: ignore[attr-defined]
    random._set_cuda_rng_state = lambda state, *_, **__: torch.set_rng_state(state)  # type: ignore[attr-defined]


def _save_without_manager() -> None:
    """Let the checkpoint writer report over an ordinary queue.

    Megatron starts a manager process for the results of background savers, which imports the main module a second time.
    Saving here happens within the call, so a queue of this process does.
    """
    writer = importlib.import_module("megatron.core.dist_checkpointing.strategies.filesystem_async")
    writer._results_queue = queue.Queue()  # type: ignore[attr-defined]


def _accumulate_gradients_in_gemm() -> None:
    """Offer Megatron the one function of Apex it needs to add weight gradients to the main gradient within the product.

    It saves a temporary as large as each weight and a pass over it for each micro-batch.
    """
    layers = importlib.import_module("megatron.core.tensor_parallel.layers")
    if not layers._grad_accum_fusion_available:
        add = types.SimpleNamespace(wgrad_gemm_accum_fp32=_add_product, wgrad_gemm_accum_fp16=_add_product)
        layers.fused_weight_gradient_mlp_cuda = add  # type: ignore[attr-defined]
        layers._grad_accum_fusion_available = True  # type: ignore[attr-defined]


def _recompute_without_fp8() -> None:
    """Let outputs be recomputed without Transformer Engine.

    Megatron's ``CheckpointWithoutOutput`` takes any ``fp8`` but ``None`` for yes, its own default included.
    """
    random = importlib.import_module("megatron.core.tensor_parallel.random")
    random.CheckpointWithoutOutput.__init__.__defaults__ = (None,)


def _add_product(inputs_TI: torch.Tensor, gradient_TO: torch.Tensor, main_OI: torch.Tensor) -> None:
    if inputs_TI.dtype == main_OI.dtype:
        torch.addmm(main_OI, gradient_TO.t(), inputs_TI, out=main_OI)
    else:
        main_OI.add_(gradient_TO.t() @ inputs_TI)


def _keep_freed_memory() -> None:
    """Let glibc keep what tensors free instead of giving it back and faulting it in again, page by page, each step.

    Measured on SmolLM2-135M: 120,000 page faults a step, a few per cent of its time, become a dozen. Other C libraries
    lack the call and are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)


@contextlib.contextmanager
def cpu_tensors_pass() -> Iterator[None]:
    """Within this, a CPU tensor answers to its CUDA name, as Megatron's optimizers and savers demand."""
    with contextlib.nullcontext() if has_cuda() else _CudaNames():
        yield


class _CudaNames(TorchFunctionMode):
    """``tensor.type()`` says ``torch.cuda.*``; moving a tensor to CUDA leaves it where it is."""

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
    """``torch`` with factories that take "cuda" for "cpu" and a ``cuda`` namespace that knows one device, the CPU."""

    def __init__(self) -> None:
        super().__init__("torch")
        self.cuda = _CudaOnCpu()
        for name in _FACTORIES:
            setattr(self, name, _on_cpu(getattr(torch, name)))

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


def _on_cpu(factory: Callable[..., Any]) -> Callable[..., Any]:
    def made_on_cpu(*args: Any, **kwargs: Any) -> Any:
        if _is_cuda((), kwargs):
            kwargs["device"] = "cpu"
        return factory(*args, **kwargs)

    return made_on_cpu


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
    """A stream on which everything has already happened."""

    def wait_stream(self, *_: Any) -> None:
        """Nothing to wait for."""

    def synchronize(self) -> None:
        """Nothing to wait for."""
