"""Weights go into GGUF and come back; what GGUF cannot say is refused."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from transformers import AutoConfig

from rollout.servers.gguf import interleave_rows, read_gguf, separate_rows, write_gguf


@given(heads=st.integers(1, 8), half=st.integers(1, 8), width=st.integers(1, 4))
def test_row_orders_are_inverse(heads: int, half: int, width: int) -> None:
    weight = np.arange(heads * 2 * half * width, dtype=np.float32).reshape(heads * 2 * half, width)
    assert np.array_equal(separate_rows(interleave_rows(weight, heads), heads), weight)
    assert np.array_equal(np.sort(interleave_rows(weight, heads), axis=0), weight)


def test_interleaving_pairs_the_halves_of_each_head() -> None:
    rows = np.arange(8.0)[:, None]  # two heads of four: 0 1 2 3 | 4 5 6 7
    assert interleave_rows(rows, 2)[:, 0].tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


@pytest.mark.parametrize("tied", [True, False])
def test_a_model_comes_back_rounded_to_float16(make_llama: Callable[..., Path], tmp_path: Path, tied: bool) -> None:
    folder = make_llama(3, tied=tied)
    write_gguf(folder, tmp_path / "m.gguf")
    back = read_gguf(tmp_path / "m.gguf", AutoConfig.from_pretrained(folder))
    saved = load_file(folder / "model.safetensors")
    assert back.keys() == saved.keys()
    assert ("lm_head.weight" in back) is not tied
    for name, weight in saved.items():
        expected = weight if weight.ndim == 1 else weight.half().float()
        assert torch.equal(back[name], expected), name


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}}, "rotary"),
        ({"head_dim": 64}, "head_dim"),
        ({"attention_bias": True}, "biases"),
        ({"architectures": ["GPT2LMHeadModel"]}, "GPT2LMHeadModel"),
    ],
)
def test_what_would_be_dropped_is_refused(tiny_llama: Path, tmp_path: Path, change: dict[str, Any], named: str) -> None:
    folder = shutil.copytree(tiny_llama, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(ValueError, match=named):
        write_gguf(folder, tmp_path / "m.gguf")
    assert not list(tmp_path.glob("*gguf*"))


def test_an_interrupted_write_leaves_no_file(tiny_llama: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_llama, tmp_path / "model")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(Exception, match=r"safetensors|incomplete|metadata|header"):
        write_gguf(folder, tmp_path / "m.gguf")
    assert not list(tmp_path.glob("*gguf*"))


def test_the_cache_removes_only_its_own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rollout.servers import gguf, openvino

    monkeypatch.setattr(gguf, "write_gguf", lambda folder, file: file.touch())
    (tmp_path / "my-model.gguf").touch()
    os.utime(tmp_path / "my-model.gguf", (0, 0))
    for number in range(12):
        file = openvino.cached_gguf(tmp_path / "model", tmp_path, f"{number:016x}")
        os.utime(file, (number + 1, number + 1))
    kept = {path.name for path in tmp_path.glob("*.gguf")}
    assert kept == {"my-model.gguf", *(f"{number:016x}.gguf" for number in range(4, 12))}
