"""Megatron-Core's GPTModel configured from a model spec, for packed documents.

Contract: :func:`build` returns this process's pipeline stage with uninitialised weights (``hf.load`` fills them).
Called on its part of a :class:`~codeact_train.data.collate.MicroBatch`, the last stage returns ``loss.token_results``
of the trained tokens, [2, N] float32; other stages return hidden states. The language-model head is computed at those N
positions only. This is exact, since no other logit enters the loss or a gradient. Dense Llama-like decoders only:
RMSNorm, SwiGLU, rotary embedding.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from megatron.core import parallel_state, tensor_parallel
from megatron.core.models.gpt.gpt_model import GPTModel
from megatron.core.tensor_parallel.layers import ColumnParallelLinear, RowParallelLinear, VocabParallelEmbedding
from megatron.core.transformer.attention import SelfAttention, SelfAttentionSubmodules
from megatron.core.transformer.enums import AttnMaskType
from megatron.core.transformer.spec_utils import ModuleSpec
from megatron.core.transformer.transformer_block import TransformerBlockSubmodules, get_num_layers_to_build
from megatron.core.transformer.transformer_config import TransformerConfig
from megatron.core.transformer.transformer_layer import TransformerLayer, TransformerLayerSubmodules
from torch import Tensor
from transformers import PretrainedConfig

from codeact_train.config.train import TrainConfig
from codeact_train.data.collate import MicroBatch
from codeact_train.distributed import megatron_cpu
from codeact_train.model.attention import PackedAttention, PackedLayout, Spans, choose_backend
from codeact_train.model.layers import GatedMLP, RMSNorm, add_residual
from codeact_train.model.loss import token_results
from codeact_train.model.spec import ModelSpec

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
RECOMPUTE: dict[str, dict[str, Any]] = {
    "none": {},
    "selective": {"recompute_granularity": "selective", "recompute_modules": ["layernorm"]},  # GatedMLP adds the gate
    "full": {"recompute_granularity": "full", "recompute_method": "uniform", "recompute_num_layers": 1},
}
"""Megatron's settings for each kind of recomputation."""


class PackedGPT(GPTModel):
    """GPTModel over a packed sequence, with the head on trained positions."""

    def __init__(self, config: TransformerConfig, spec: ModelSpec, train: TrainConfig):
        super().__init__(
            config=config,
            transformer_layer_spec=_block_spec(
                config, spec, choose_backend(train.attention, train.precision, spec.head_dim)
            ),
            vocab_size=spec.padded_vocab(train.parallel.tensor),
            max_sequence_length=spec.hf.max_position_embeddings,
            pre_process=parallel_state.is_pipeline_first_stage(),
            post_process=parallel_state.is_pipeline_last_stage(),
            position_embedding_type="none",  # PackedAttention applies RoPE
            share_embeddings_and_output_weights=spec.tied,
        )
        self.vocab, self.z_loss = spec.vocab, train.z_loss
        self.window = next((window for window in spec.windows if window), None)
        inverse_D, self.rope_scale = rope_frequencies(spec.hf)
        self.register_buffer("rope_inverse", inverse_D, persistent=False)
        if config.sequence_parallel and self.post_process:
            # trained positions index the whole sequence, so it is gathered before the head instead of in it
            self.output_layer.sequence_parallel = False
            self.output_layer.disable_grad_reduce = True

    def forward(self, batch: MicroBatch) -> Tensor:
        """Loss and hit of each trained token, float32 [2, N]; before the last stage, hidden states."""
        return super().forward(
            input_ids=batch.tokens,
            position_ids=batch.positions[None],
            attention_mask=None,
            labels=batch.labels,
            packed_seq_params=self.layout(batch),
            extra_block_kwargs=None,
            loss_mask=batch.trained,
        )

    def layout(self, batch: MicroBatch) -> PackedLayout:
        """Document bounds and rotary tables of a sequence. Angles are computed in float32."""
        angles = torch.outer(batch.positions.float(), self.rope_inverse.float())
        angles = torch.cat((angles, angles), dim=-1)[:, None, None]
        dtype = self.config.params_dtype
        cos, sin = ((table * self.rope_scale).to(dtype) for table in (angles.cos(), angles.sin()))
        return PackedLayout(Spans.from_bounds(batch.bounds, batch.first, batch.slots), self.window, cos, sin)

    def _postprocess(self, hidden_states: Tensor, labels: Tensor, loss_mask: Tensor, **_: Any) -> Tensor:
        """Called by GPTModel.forward; ``loss_mask`` carries the trained positions, ``labels`` their next tokens."""
        if not self.post_process:
            return hidden_states
        if self.config.sequence_parallel:
            hidden_states = tensor_parallel.gather_from_sequence_parallel_region(hidden_states)
        hidden_N1C = hidden_states[loss_mask]
        weight = self.shared_embedding_or_output_weight() if self.share_embeddings_and_output_weights else None
        logits_N1V, _ = self.output_layer(hidden_N1C, weight=weight)
        return token_results(logits_N1V[:, 0], labels, self.vocab, self.z_loss if self.training else 0.0)


def rope_frequencies(hf: PretrainedConfig) -> tuple[Tensor, float]:
    """Inverse frequencies, float32 [head_dim / 2], and the factor on cos and sin, with transformers' scaling rules."""
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    rope = LlamaRotaryEmbedding(hf)  # type: ignore[arg-type]  # every mapped family has these fields
    return rope.inv_freq.float(), float(rope.attention_scaling)


def _block_spec(config: TransformerConfig, spec: ModelSpec, attention: str) -> TransformerBlockSubmodules:
    norm = ModuleSpec(module=RMSNorm)
    core = {"backend": attention, "windows": spec.windows, "keeps_product": spec.qk_norm}
    layer = ModuleSpec(
        module=TransformerLayer,
        submodules=TransformerLayerSubmodules(
            input_layernorm=norm,
            self_attention=ModuleSpec(
                module=SelfAttention,
                params={"attn_mask_type": AttnMaskType.causal},
                submodules=SelfAttentionSubmodules(
                    linear_qkv=ColumnParallelLinear,
                    core_attention=ModuleSpec(module=PackedAttention, params=core),
                    linear_proj=RowParallelLinear,
                    q_layernorm=norm if spec.qk_norm else None,
                    k_layernorm=norm if spec.qk_norm else None,
                ),
            ),
            self_attn_bda=add_residual,
            pre_mlp_layernorm=norm,
            mlp=GatedMLP,
            mlp_bda=add_residual,
        ),
    )
    return TransformerBlockSubmodules(layer_specs=[layer] * get_num_layers_to_build(config), layer_norm=norm)


def transformer_config(spec: ModelSpec, train: TrainConfig) -> TransformerConfig:
    """Megatron's configuration of the model: no dropout, no fusion that needs Apex or Transformer Engine."""
    dtype = DTYPES[train.precision]
    return TransformerConfig(
        num_layers=spec.layers,
        hidden_size=spec.hidden,
        ffn_hidden_size=spec.ffn,
        num_attention_heads=spec.heads,
        num_query_groups=spec.kv_heads,
        kv_channels=spec.head_dim,
        normalization="RMSNorm",
        layernorm_epsilon=spec.norm_eps,
        gated_linear_unit=True,
        activation_func=F.silu,
        add_bias_linear=False,
        add_qkv_bias=spec.qkv_bias,
        qk_layernorm=spec.qk_norm,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        tensor_model_parallel_size=train.parallel.tensor,
        pipeline_model_parallel_size=train.parallel.pipeline,
        context_parallel_size=train.parallel.context,
        sequence_parallel=train.parallel.sequence_parallel,
        **RECOMPUTE[train.recompute],
        params_dtype=dtype,
        pipeline_dtype=dtype,
        bf16=train.precision == "bf16",
        calculate_per_token_loss=True,  # the loss is already normalised; Megatron must not divide it again
        use_cpu_initialization=True,
        perform_initialization=False,  # hf.load fills every weight
        gradient_accumulation_fusion=True,  # by megatron_cpu's replacement for Apex
        bias_activation_fusion=False,
        bias_dropout_fusion=False,
        masked_softmax_fusion=False,
        apply_rope_fusion=False,
        persist_layer_norm=False,
        cross_entropy_loss_fusion=False,
    )


def build(spec: ModelSpec, train: TrainConfig, device: torch.device) -> PackedGPT:
    """This process's stage of the model, in training mode on its device, with uninitialised weights."""
    with megatron_cpu.fake_cuda_types():  # Megatron moves a tied embedding of the last stage to CUDA
        model = PackedGPT(transformer_config(spec, train), spec, train).to(device)
    _mark_shards(model)
    return model


def _mark_shards(model: PackedGPT) -> None:
    """Mark the weights that are split over tensor-parallel processes.

    The gradient norm counts split weights on every process and replicated ones once. Megatron sets these marks during
    initialisation, which is skipped here.
    """
    cut_along = {ColumnParallelLinear: 0, VocabParallelEmbedding: 0, RowParallelLinear: 1}
    for module in model.modules():
        dim = cut_along.get(type(module))
        if dim is not None and module.weight is not None and not hasattr(module.weight, "tensor_model_parallel"):
            tensor_parallel.set_tensor_model_parallel_attributes(module.weight, True, dim, stride=1)
