"""Memory traffic of what lies between the matrix products, by how it is implemented.

Contract: numbers of elements read and written, counted from the operations; one unit is one pass over one element in
bf16 (2 bytes; an fp32 pass is 2 units). Backward moves twice what forward does. What is calibrated is only how much of
a GPU's bandwidth such kernels reach (``step_time.BANDWIDTH_SHARE``).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kernels:
    """Passes of one layer's forward over its activations, and what the loss and the gradients cost."""

    hidden: int
    """Over the residual stream: two norms and two additions."""
    rotary: int
    """Over queries and keys: the rotary embedding."""
    gate: int
    """Over the MLP's width: activation and product."""
    gate_kept: int
    """Tensors of the MLP's width kept for backward behind the first product."""
    loss_bytes: int
    """Bytes moved a logit, forward and backward together."""
    logit_bytes: int
    """Bytes held at once a logit."""
    gradient_bytes: int
    """Bytes moved a weight to add a micro-batch's gradient to the fp32 sum."""


EAGER = Kernels(hidden=42, rotary=10, gate=5, gate_kept=4, loss_bytes=24, logit_bytes=10, gradient_bytes=12)
"""One operation a kernel: norms in fp32 step by step (18 passes each) and additions (3 each); turn, multiply and add
for the rotary embedding; SiLU and product apart; logits copied to fp32; gradients made in bf16, then added."""

FUSED = Kernels(hidden=10, rotary=2, gate=3, gate_kept=3, loss_bytes=8, logit_bytes=6, gradient_bytes=8)
"""One kernel each (compiled, or written by hand), gradients added within the product."""

TRAINER = Kernels(hidden=10, rotary=10, gate=5, gate_kept=4, loss_bytes=24, logit_bytes=10, gradient_bytes=12)
"""This project's modules on a GPU: torch's fused norm, the rest as in :data:`EAGER`."""
