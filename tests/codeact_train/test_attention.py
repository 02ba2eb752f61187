"""Every kernel computes what the formula says, over documents, windows, grouped queries and parts of a sequence."""

import functools
import sys
import types
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.attention.flex_attention import flex_attention

from codeact_train.distributed.cuda import has_cuda
from codeact_train.model.attention import (
    PackedLayout,
    Spans,
    backends,
    choose_backend,
    flash,
    flex,
    reference,
    sdpa,
    varlen,
)

BOUNDS = (0, 7, 8, 40, 95, 128)
WINDOWS = [None, 1, 13, 200]
PARTS = [(0, 1), (0, 4), (1, 4), (2, 4), (3, 4)]  # which stretch of the sequence, of how many
HEADS, GROUPS, WIDTH = 4, 2, 16


def laid_out(window: int | None, part: tuple[int, int], device: str = "cpu") -> PackedLayout:
    rank, parts = part
    slots = BOUNDS[-1] // parts
    nothing = torch.zeros(0, device=device)
    return PackedLayout(Spans.from_bounds(BOUNDS, rank * slots, slots), window, nothing, nothing)


def tensors(layout: PackedLayout, dtype: torch.dtype = torch.float64, device: str = "cpu") -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    sizes = [(layout.spans.query[-1], HEADS), (layout.spans.key[-1], GROUPS), (layout.spans.key[-1], GROUPS)]
    made = [torch.randn(*size, WIDTH, generator=generator, dtype=torch.float64) for size in sizes]
    return [x.to(dtype).to(device).requires_grad_() for x in made]


def output_and_gradients(
    attend: Callable[..., torch.Tensor], layout: PackedLayout, inputs: list[torch.Tensor]
) -> list[torch.Tensor]:
    out = attend(*inputs, layout, 0.3)
    weights = torch.linspace(-1, 1, out.numel(), dtype=torch.float64).reshape(out.shape).to(out)
    return [out, *torch.autograd.grad((out * weights).sum(), inputs)]


def assert_like_the_formula(attend: Callable[..., torch.Tensor], layout: PackedLayout) -> None:
    wanted = output_and_gradients(reference.attend, layout, tensors(layout))
    found = output_and_gradients(attend, layout, tensors(layout))
    for name, a, b in zip(("output", "q", "k", "v"), found, wanted, strict=True):
        torch.testing.assert_close(a, b, msg=functools.partial("{}: {}".format, name))


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("window", WINDOWS)
def test_the_formula_sees_the_past_of_its_document_and_window(window: int | None, part: tuple[int, int]) -> None:
    """Said once more in the plainest words."""
    rank, parts = part
    slots = BOUNDS[-1] // parts
    layout = laid_out(window, part)
    document = [next(i for i, (a, b) in enumerate(pairwise(BOUNDS)) if a <= slot < b) for slot in range(BOUNDS[-1])]
    visible = reference.visible(layout)
    for query in range(slots):
        own = rank * slots + query
        for column in range(visible.shape[1]):
            key = layout.spans.first_key + column
            near = window is None or own - key < window
            assert visible[query, column] == (key <= own and document[key] == document[own] and near)
    # no key that a query sees has been left out
    first = min(slot for slot in range(BOUNDS[-1]) if document[slot] == document[rank * slots])
    assert (layout.spans.first_key, layout.spans.first_key + visible.shape[1]) == (first, (rank + 1) * slots)


@pytest.mark.parametrize("block", [8, 512])
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("window", WINDOWS)
def test_sdpa(monkeypatch: pytest.MonkeyPatch, window: int | None, part: tuple[int, int], block: int) -> None:
    monkeypatch.setattr(sdpa, "QUERY_BLOCK", block)
    assert_like_the_formula(sdpa.attend, laid_out(window, part))


def test_sdpa_keeps_no_mask_as_large_as_the_sequence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A document far longer than its window: masks are as large as a block of queries and what it reaches."""
    sizes = []
    kernel: Callable[..., torch.Tensor] = torch.nn.functional.scaled_dot_product_attention

    def watched(*inputs: Any, attn_mask: Any = None, **options: Any) -> Any:
        sizes.append(0 if attn_mask is None else attn_mask.numel())
        return kernel(*inputs, attn_mask=attn_mask, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)
    nothing = torch.zeros(0)
    layout = PackedLayout(Spans.from_bounds((0, 4096), 0, 4096), 256, nothing, nothing)
    sdpa.attend(torch.zeros(4096, 1, 8), torch.zeros(4096, 1, 8), torch.zeros(4096, 1, 8), layout, 1.0)
    assert 0 < max(sizes) <= sdpa.QUERY_BLOCK * (sdpa.QUERY_BLOCK + 256)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("window", WINDOWS)
def test_the_block_mask_of_flex_attention(
    monkeypatch: pytest.MonkeyPatch, window: int | None, part: tuple[int, int]
) -> None:
    """Uncompiled, which torch runs on a CPU in the forward direction; small blocks, so that some are skipped."""
    monkeypatch.setattr(flex, "BLOCK", 16)
    layout = laid_out(window, part)
    mask = flex.block_mask(layout)
    q, k, v = (x.detach().float() for x in tensors(layout))
    out = flex.attend_with(flex_attention, q, k, v, mask, 0.3)
    torch.testing.assert_close(out, reference.attend(q, k, v, layout, 0.3), rtol=1e-5, atol=1e-5)
    needed = reference.visible(layout)
    rows = [needed[a : a + 16] for a in range(0, len(needed), 16)]
    kept = [len({int(key) // 16 for key in row.any(0).nonzero()}) for row in rows]
    assert mask.kv_num_blocks.flatten().tolist() == kept


def kernel_by_its_manual(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    query_bounds: torch.Tensor,
    key_bounds: torch.Tensor,
    longest_query: int,
    longest_key: int,
    scale: float,
    reach: Any,
) -> torch.Tensor:
    """What flash-attn documents: documents by cumulative lengths, the last query at the last key, a window counted in
    keys to the left and right of it."""
    assert query_bounds.dtype == key_bounds.dtype == torch.int32
    assert query_bounds.diff().max() == longest_query
    assert key_bounds.diff().max() == longest_key
    pieces = []
    for (a, b), (c, d) in zip(pairwise(query_bounds.tolist()), pairwise(key_bounds.tolist()), strict=True):
        keys, values = (x[c:d].repeat_interleave(q.shape[1] // k.shape[1], dim=1) for x in (k, v))
        scores = torch.einsum("shd,thd->hst", q[a:b], keys) * scale
        distance = torch.arange(b - a)[:, None] + (d - c) - (b - a) - torch.arange(d - c)
        left, right = reach
        hidden = (distance < -right) | (
            (distance > left) if left >= 0 else torch.zeros_like(distance, dtype=torch.bool)
        )
        pieces.append(torch.einsum("hst,thd->shd", scores.masked_fill(hidden, float("-inf")).softmax(-1), values))
    return torch.cat(pieces)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("window", WINDOWS)
def test_the_arguments_of_flash_attn(
    monkeypatch: pytest.MonkeyPatch, window: int | None, part: tuple[int, int]
) -> None:
    def flash_attn_varlen_func(
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        cu_seqlens_q: torch.Tensor,
        cu_seqlens_k: torch.Tensor,
        max_seqlen_q: int,
        max_seqlen_k: int,
        dropout_p: float = 0.0,
        softmax_scale: float = 1.0,
        causal: bool = False,
        window_size: tuple[int, int] = (-1, -1),
    ) -> Any:
        assert causal
        reach = (window_size[0], 0)
        return kernel_by_its_manual(
            q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, softmax_scale, reach
        )

    package = types.SimpleNamespace(flash_attn_varlen_func=flash_attn_varlen_func)
    monkeypatch.setitem(sys.modules, "flash_attn", package)
    assert_like_the_formula(backends.BACKENDS["flash"].attend, laid_out(window, part))


def test_a_flash_attn_that_does_not_load_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As one compiled for another torch."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 0))
    (tmp_path / "flash_attn.py").write_text("raise ImportError('undefined symbol')")
    monkeypatch.syspath_prepend(tmp_path)
    flash._package_unavailable.cache_clear()
    try:
        assert choose_backend("auto", "bf16", 64) == "varlen"
        with pytest.raises(ValueError, match=r"attention=flash: .* does not load \(undefined symbol\); choose one of"):
            choose_backend("flash", "bf16", 64)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
        assert choose_backend("auto", "bf16", 64) == "flex"
    finally:
        flash._package_unavailable.cache_clear()


def test_a_kernel_is_chosen_that_has_the_width_of_the_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 0))
    chosen = {width: choose_backend("auto", "bf16", width) for width in (8, 12, 20, 64, 256, 288)}
    assert chosen == {8: "varlen", 12: "sdpa", 20: "flex", 64: "varlen", 256: "varlen", 288: "flex"}
    with pytest.raises(ValueError, match=r"attention=flex: .* at least 16, not 8"):
        choose_backend("flex", "fp32", 8)


def test_a_process_forked_after_cuda_was_initialized_computes_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert has_cuda()
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
    assert not has_cuda()
    assert choose_backend("auto", "bf16", 64) == "sdpa"


def of_torch_2_11(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    cu_seq_q: torch.Tensor,
    cu_seq_k: torch.Tensor,
    max_q: int,
    max_k: int,
    *,
    return_aux: Any = None,
    scale: float | None = None,
    window_size: tuple[int, int] = (-1, -1),
) -> torch.Tensor:
    assert isinstance(window_size, tuple)
    assert scale is not None
    return kernel_by_its_manual(q, k, v, cu_seq_q, cu_seq_k, max_q, max_k, scale, window_size)


def of_torch_2_13(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    cu_seq_q: torch.Tensor,
    cu_seq_k: torch.Tensor,
    max_q: int,
    max_k: int,
    *,
    return_aux: Any = None,
    scale: float | None = None,
    window_size: tuple[int, int] = (-1, -1),
    enable_gqa: bool = False,
) -> torch.Tensor:
    assert enable_gqa == (q.shape[1] != k.shape[1])
    return of_torch_2_11(q, k, v, cu_seq_q, cu_seq_k, max_q, max_k, scale=scale, window_size=window_size)


@pytest.mark.parametrize("release", [of_torch_2_11, of_torch_2_13])
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("window", WINDOWS)
def test_the_arguments_of_torch_varlen(
    monkeypatch: pytest.MonkeyPatch, window: int | None, part: tuple[int, int], release: Any
) -> None:
    import torch.nn.attention.varlen as module

    monkeypatch.setattr(module, "varlen_attn", release)
    varlen._parameters.cache_clear()
    try:
        assert_like_the_formula(varlen.attend, laid_out(window, part))
    finally:
        varlen._parameters.cache_clear()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="its kernel needs a CUDA device")
@pytest.mark.gpu
@pytest.mark.parametrize("name", ["flash", "varlen", "flex"])
def test_kernels_of_the_gpu(name: str) -> None:
    lacking = backends.BACKENDS[name].unavailable("bf16", 64)
    if lacking:
        pytest.skip(lacking)
    for window in WINDOWS:
        for part in PARTS:
            layout = laid_out(window, part, "cuda")
            wanted = output_and_gradients(reference.attend, laid_out(window, part), tensors(laid_out(window, part)))
            inputs = tensors(layout, torch.bfloat16, "cuda")
            found = output_and_gradients(backends.BACKENDS[name].attend, layout, inputs)
            for a, b in zip(found, wanted, strict=True):
                torch.testing.assert_close(a.double().cpu(), b, rtol=5e-2, atol=5e-2)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here, so nothing is lacking")
def test_a_named_kernel_that_is_absent_is_an_error() -> None:
    assert choose_backend("auto", "bf16", 64) == "sdpa"
    assert choose_backend("reference", "fp32", 64) == "reference"
    for name in ("flash", "varlen", "flex"):
        with pytest.raises(
            ValueError, match=f"attention={name}: there is no CUDA device here; choose one of sdpa, ref"
        ):
            choose_backend(name, "bf16", 64)
