"""The ``quantization_config`` of a model folder: left behind by weights that are full again, or true.

Contract: a folder whose tensors are all floating point of 16 bits or more has full weights. Its configuration may
state otherwise, because tools that load in 4 bits and save merged weights leave the key behind. Quantized weights are
refused.
Cost: the headers of the safetensors files; no tensor is read, and nothing at all without the key.
"""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open
from transformers import PretrainedConfig

from codeact_train.system.failures import read_json_object

KEYS = ("quantization_config", "compression_config")
"""Keys of ``config.json`` that describe quantized weights."""
_FULL = ("F64", "F32", "F16", "BF16")


def drop_leftover(config: PretrainedConfig, folder: Path) -> None:
    """Remove the description of a quantization that the weights in ``folder`` do not have. Raises ``ValueError`` when
    they have it."""
    found = [key for key in KEYS if getattr(config, key, None)]
    if not found:
        return
    if quantized := _quantized_tensor(folder):
        settings = getattr(config, found[0])
        method = settings.get("quant_method") if isinstance(settings, dict) else None
        raise ValueError(
            f"model={folder}: its weights are quantized ({method or found[0]}; tensor {quantized}), which cannot be "
            "trained; give the folder of the full weights, or save model.dequantize() with save_pretrained()"
        )
    for key in found:
        delattr(config, key)


def leftover(folder: Path) -> str | None:
    """A sentence about a key that :func:`drop_leftover` removes from the folder's configuration, if there is one."""
    config = read_json_object(folder / "config.json", "fetch the model again")
    found = next((key for key in KEYS if config.get(key)), None)
    if found is None:
        return None
    return f"model={folder}: its weights are full; {found} in its config.json is ignored, and exports do not carry it"


def _quantized_tensor(folder: Path) -> str | None:
    """Name and type of the first tensor that is not floating point of 16 bits or more."""
    for file in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(file, "pt") as tensors:
                for name in tensors.keys():  # noqa: SIM118  # not a mapping
                    kind = tensors.get_slice(name).get_dtype()
                    if kind not in _FULL:
                        return f"{name} is {kind}"
        except (OSError, SafetensorError):
            continue  # reading the weights names a damaged file
    return None
