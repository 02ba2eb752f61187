"""The export gate lets faithful servers pass and catches the faults that still answer."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from eval.parity import ParityError, compare, require_parity
from rollout.servers.openvino import OpenVINOBackend, OpenVINOSettings
from tests.helpers.fake_server import http_server


@pytest.fixture
def served(serve_here: Callable[[Any], str], tmp_path: Path) -> Callable[[Path], str]:
    def start(folder: Path) -> str:
        return serve_here(
            OpenVINOBackend(folder, OpenVINOSettings(threads=1, cache_gib=1, gguf_cache=tmp_path / "gguf"))
        )

    return start


def test_a_faithful_server_passes(tiny_server: str, tiny_llama: Path) -> None:
    report = require_parity(tiny_server, tiny_llama)
    assert report.passed
    assert report.mean_difference <= 0.01
    assert report.tokens >= 24
    assert "agrees" in report.sentence()


def test_an_untied_head_is_served_as_such(make_llama: Callable[..., Path], served: Callable[[Path], str]) -> None:
    assert compare(served(untied := make_llama(4, tied=False)), untied).passed


def test_the_wrong_order_of_rows_is_caught(
    monkeypatch: pytest.MonkeyPatch, tiny_llama: Path, served: Callable[[Path], str]
) -> None:
    monkeypatch.setattr("rollout.servers.gguf.interleave_rows", lambda weight, heads: weight)
    report = compare(served(tiny_llama), tiny_llama)
    assert not report.passed
    assert report.mean_difference > 10 * report.tolerance


def test_a_head_tied_by_mistake_is_caught(
    make_llama: Callable[..., Path], served: Callable[[Path], str], tmp_path: Path
) -> None:
    truth = make_llama(4, tied=False)
    mistaken = shutil.copytree(truth, tmp_path / "mistaken")
    tensors = load_file(truth / "model.safetensors")
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    save_file(tensors, mistaken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ParityError, match="DOES NOT agree"):
        require_parity(served(mistaken), truth)


def test_stale_weights_are_caught(tiny_server: str, tiny_llama: Path, tmp_path: Path) -> None:
    """A step of training as small as 2 % of one matrix's values must show."""
    trained = shutil.copytree(tiny_llama, tmp_path / "trained")
    tensors = load_file(tiny_llama / "model.safetensors")
    tensors["model.layers.1.mlp.down_proj.weight"] *= 1.02
    save_file(tensors, trained / "model.safetensors", metadata={"format": "pt"})
    assert not compare(tiny_server, trained).passed


@pytest.mark.parametrize(
    "answer",
    [
        {"choices": []},
        {"choices": [{"text": "x"}]},
        {"choices": [{"text": "x", "token_ids": [1, 2], "logprobs": {"token_logprobs": [-1.0]}}]},
        {"choices": [{"text": "x", "token_ids": [1], "logprobs": {"token_logprobs": ["?"]}}]},
        {"choices": [{"text": "", "token_ids": [], "logprobs": {"token_logprobs": []}}]},
        {"error": {"message": "no"}},
        None,
    ],
)
def test_an_odd_answer_is_no_comparison(tiny_llama: Path, answer: Any) -> None:
    def handle(path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        models = {"object": "list", "data": [{"id": "m"}]}
        return 200, json.dumps(models if path.endswith("/models") else answer).encode()

    with http_server(handle) as url, pytest.raises(ParityError, match=url):
        compare(url, tiny_llama)
