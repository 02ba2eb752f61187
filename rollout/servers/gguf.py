"""Llama weights between a Hugging Face folder and one GGUF file, in both directions.

Contract: :func:`write_gguf` writes the float16 GGUF file that openvino-genai and llama.cpp read; :func:`read_gguf`
gives the tensors of a Llama GGUF file, dequantised, under their Hugging Face names. Cost: one pass over the weights.

Two things differ between the forms. Names (:data:`_LAYER_NAMES`), and the order of rows inside each attention head of
``q_proj`` and ``k_proj``: Hugging Face rotates the pairs ``(i, i + head_dim/2)``, GGUF's Llama rotates neighbours
``(2i, 2i+1)``, so the rows are interleaved (:func:`interleave_rows`, as in llama.cpp's ``convert_hf_to_gguf.py``).
A file with the wrong order still answers, only badly: ``eval.parity`` is the check.

Does not do: scaled rotary embeddings, sliding windows, biases, other architectures (each is a :class:`ValueError`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from transformers import AutoConfig, PretrainedConfig

from rollout.servers.backend import load_tokenizer

Array = NDArray[np.floating[Any]]

_TOP_NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
_LAYER_NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_ARCHITECTURES = ("LlamaForCausalLM", "MistralForCausalLM")


def interleave_rows(weight: Array, heads: int) -> Array:
    """Hugging Face row order to GGUF's, for q and k projections. ``weight``: (heads * head_dim, width)."""
    return weight.reshape(heads, 2, -1, weight.shape[-1]).swapaxes(1, 2).reshape(weight.shape)


def separate_rows(weight: Array, heads: int) -> Array:
    """Inverse of :func:`interleave_rows`."""
    return weight.reshape(heads, -1, 2, weight.shape[-1]).swapaxes(1, 2).reshape(weight.shape)


def _names(layers: int) -> dict[str, str]:
    """Hugging Face name to GGUF name of every tensor."""
    inner = {
        f"model.layers.{layer}.{ours}.weight": f"blk.{layer}.{theirs}.weight"
        for layer in range(layers)
        for ours, theirs in _LAYER_NAMES.items()
    }
    return _TOP_NAMES | inner


def _heads_in_rows(name: str, config: PretrainedConfig) -> int | None:
    """How many heads the rows of this tensor hold, for the tensors whose rows are reordered."""
    if name.endswith("q_proj.weight"):
        return int(config.num_attention_heads)
    if name.endswith("k_proj.weight"):
        return int(config.num_key_value_heads)
    return None


def read_gguf(file: Path, config: PretrainedConfig) -> dict[str, torch.Tensor]:
    """Float32 tensors of a Llama GGUF file under their Hugging Face names; quantised blocks are dequantised."""
    ours = {theirs: name for name, theirs in _names(config.num_hidden_layers).items()}
    tensors: dict[str, torch.Tensor] = {}
    for tensor in gguf.GGUFReader(file).tensors:
        name = ours[tensor.name]
        weight = gguf.dequantize(tensor.data, tensor.tensor_type)
        heads = _heads_in_rows(name, config)
        if heads is not None:
            weight = separate_rows(weight, heads)
        tensors[name] = torch.from_numpy(np.array(weight, dtype=np.float32))
    return tensors


def write_gguf(folder: Path, file: Path) -> None:
    """Write the model in ``folder`` as one float16 GGUF ``file``, whole or not at all.

    Matrices are float16, norms float32, as llama.cpp's own converter writes them.

    Raises:
        ValueError: the model has a part that this writer or openvino-genai's GGUF reader would drop silently.
    """
    config = AutoConfig.from_pretrained(folder)
    _refuse_what_would_be_dropped(folder, config)
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    writer = gguf.GGUFWriter(unfinished, "llama")
    _add_config(writer, config)
    _add_tokenizer(writer, folder, config.vocab_size)
    names = _names(config.num_hidden_layers)
    for name, weight in _tensors(folder):
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue  # a tied head is the embedding; GGUF says so by leaving the tensor out
        heads = _heads_in_rows(name, config)
        if heads is not None:
            weight = interleave_rows(weight, heads)
        dtype = np.float32 if weight.ndim == 1 else np.float16
        writer.add_tensor(names[name], np.ascontiguousarray(weight, dtype=dtype))
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        unfinished.rename(file)
    finally:
        unfinished.unlink(missing_ok=True)


def _tensors(folder: Path) -> Iterator[tuple[str, Array]]:
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - not a dict
                yield name, tensors.get_tensor(name).float().numpy()


def _refuse_what_would_be_dropped(folder: Path, config: PretrainedConfig) -> None:
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    rope_type = (config.rope_parameters or {}).get("rope_type", "default")
    architecture = (config.architectures or ["none"])[0]
    problems = [
        (architecture not in _ARCHITECTURES, f"architecture {architecture}"),
        (rope_type != "default", f"rotary embedding of type {rope_type!r}"),
        (head_dim * config.num_attention_heads != config.hidden_size, f"head_dim {head_dim}"),
        (bool(getattr(config, "sliding_window", None)), "a sliding attention window"),
        (bool(getattr(config, "attention_bias", False) or getattr(config, "mlp_bias", False)), "biases"),
    ]
    for refused, what in problems:
        if refused:
            raise ValueError(
                f"model={str(folder)!r}: {what} has no faithful GGUF form here; use backend=transformers or vllm"
            )


def _add_config(writer: gguf.GGUFWriter, config: PretrainedConfig) -> None:
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)


def _add_tokenizer(writer: gguf.GGUFWriter, folder: Path, vocab_size: int) -> None:
    """The byte-level BPE tokenizer, which the engine needs to find stop strings in what it generates."""
    tokenizer = load_tokenizer(folder)
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    if model["type"] != "BPE":
        raise ValueError(
            f"model={str(folder)!r}: a {model['type']} tokenizer has no GGUF form here; use backend=transformers"
        )
    tokens = [f"[unused{index}]" for index in range(vocab_size)]
    kinds = [gguf.TokenType.UNUSED] * vocab_size
    for token, index in tokenizer.get_vocab().items():
        tokens[index], kinds[index] = token, gguf.TokenType.NORMAL
    for index, added in tokenizer.added_tokens_decoder.items():
        kinds[index] = gguf.TokenType.CONTROL if added.special else gguf.TokenType.USER_DEFINED
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_add_bos_token(False)
