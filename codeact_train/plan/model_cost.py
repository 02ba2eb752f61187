"""Cost of a model: parameters and floating-point operations.

Contract: exact arithmetic on the numbers of a config; no calibrated constant, no hardware. One multiply-add counts as
two operations. Biases are excluded from every count and norms from the operations: both are below 0.1 %.
"""

from __future__ import annotations

from dataclasses import dataclass

from codeact_train.model.spec import AttentionDims, ModelSpec


@dataclass(frozen=True)
class ModelCost(AttentionDims):
    """The numbers of a decoder that determine its cost."""

    layers: int
    hidden: int
    ffn: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    tied: bool = False
    window: int | None = None
    windowed: float = 1.0
    """Share of the layers that have the window; the others have full attention."""
    qk_norm: bool = False
    mlp_matrices: int = 3
    """3 for a gated MLP (gate, up, down); 2 for a plain one."""

    @classmethod
    def from_spec(cls, spec: ModelSpec) -> ModelCost:
        """The cost of a model that the trainer supports."""
        windows = [window for window in spec.windows if window]
        return cls(
            layers=spec.layers,
            hidden=spec.hidden,
            ffn=spec.ffn,
            heads=spec.heads,
            kv_heads=spec.kv_heads,
            head_dim=spec.head_dim,
            vocab=spec.vocab,
            tied=spec.tied,
            window=windows[0] if windows else None,
            windowed=len(windows) / spec.layers,
            qk_norm=spec.qk_norm,
        )

    @property
    def layer_matrices(self) -> int:
        """Weights of one layer's matrices: query-key-value, projection, MLP."""
        attention = self.hidden * (2 * self.query_width + 2 * self.kv_width)
        return attention + self.mlp_matrices * self.hidden * self.ffn

    @property
    def head(self) -> int:
        """Weights of the language-model head; the embedding has the same size."""
        return self.vocab * self.hidden

    @property
    def matrices(self) -> int:
        """Weights that take part in a matrix product: all but the embedding look-up and the norms."""
        return self.layers * self.layer_matrices + self.head

    @property
    def parameters(self) -> int:
        """All weights; a tied head and embedding count once."""
        norms = (2 * self.layers + 1) * self.hidden
        return self.layers * self.layer_matrices + self.head * (1 if self.tied else 2) + norms

    def attention_forward(self, context: float) -> float:
        """Operations of one layer's attention for one query with ``context`` visible keys: scores and weighted sum."""
        return 4 * self.query_width * context

    def model_flops(self, context: float) -> float:
        """Operations per trained token, forward and backward.

        6 per matrix weight (2 forward, 4 backward) and three times the attention's forward over the visible keys. This
        is the numerator of MFU; recomputation, including that of the attention kernel, is excluded.
        """
        return 6 * self.matrices + 3 * self.layers * self.attention_forward(context)
