"""Memory traffic of the operations between matrix products, by implementation.

Contract: numbers of elements read and written, counted from the operations; one unit is one pass over one element in
bf16 (2 bytes; an fp32 pass is 2 units). Backward moves twice as much as forward. Only the share of a GPU's bandwidth
that such kernels reach is calibrated (``step_time.BANDWIDTH_SHARE``).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class KernelTraffic:
    """Passes over activations in one layer's forward, and the bytes of loss and gradients."""

    hidden: int
    """Over the residual stream: two norms and two additions."""
    rotary: int
    """Over queries and keys: the rotary embedding."""
    gate: int
    """Over the MLP's width: activation and product."""
    gate_kept: int
    """Tensors of the MLP's width kept for backward after the first product."""
    loss_bytes: int
    """Bytes moved per logit, forward and backward together."""
    logit_bytes: int
    """Bytes held at once per logit."""
    gradient_bytes: int
    """Bytes moved per weight to add a micro-batch's gradient to the fp32 sum."""


EAGER = KernelTraffic(hidden=42, rotary=10, gate=5, gate_kept=4, loss_bytes=24, logit_bytes=10, gradient_bytes=12)
"""One operation per kernel: norms in fp32 step by step (18 passes each) and additions (3 each); rotate, multiply and
add for the rotary embedding; SiLU and product separately; logits copied to fp32; gradients in bf16, then added.
"""

FUSED = KernelTraffic(hidden=10, rotary=2, gate=3, gate_kept=3, loss_bytes=8, logit_bytes=6, gradient_bytes=8)
"""One kernel each (compiled or hand-written), gradients added within the product."""

TRAINER = KernelTraffic(hidden=10, rotary=10, gate=5, gate_kept=4, loss_bytes=24, logit_bytes=10, gradient_bytes=12)
"""This project's modules on a GPU: torch's fused norm, otherwise as :data:`EAGER`."""
