"""The start-up checks pass on a sound trainer, in every layout, and fail on a broken one."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import MistralConfig, PreTrainedTokenizerFast

from codeact_train.backends.megatron import forward_backward
from codeact_train.config.prepare import PrepareConfig
from codeact_train.data.corpus import Corpus
from codeact_train.data.document import ROLES, Document
from codeact_train.hf import loading
from codeact_train.model import attention
from codeact_train.parity.toy_models import save_model
from codeact_train.prepare import prepare
from codeact_train.startup_checks import mask_audit
from codeact_train.system import exit_codes
from tests.helpers.models import SHAPE
from tests.helpers.records import write_conversations
from tests.helpers.training import events, recipe, run_job


def test_checks_pass_in_a_layout_with_everything(tmp_path: Path, model: Path, corpus: Path) -> None:
    parallel = {"tensor": 2, "sequence_parallel": True}
    assert run_job(tmp_path, model, corpus, recipe(parallel=parallel, epochs=1), world=2) == 0
    checks = {p["name"]: p for p in events(tmp_path, "startup_check")}
    assert set(checks) == {"leak", "parity", "audit", "prompt", "partition"}
    assert checks["parity"]["value"] < 1e-5


def test_checks_are_made_of_the_layout_in_use_and_can_be_left_out(tmp_path: Path, model: Path, corpus: Path) -> None:
    """A job that goes on in the same layout makes none; ``parity`` holds for the base model's weights alone."""
    for step, recompute, made in ((1, "none", 1), (2, "none", 1), (3, "full", 2)):
        train = recipe(startup_checks=["parity"], stop_after_steps=step, recompute=recompute)
        assert run_job(tmp_path, model, corpus, train) == exit_codes.STOPPED
        assert [p["name"] for p in events(tmp_path, "startup_check")] == ["parity"] * made


def blind_to_bounds(
    self: Any,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    *,
    packed_seq_params: Any,
    **rest: Any,
) -> Any:
    spans = attention.Spans.from_bounds((0, q.shape[0]), 0, q.shape[0])
    whole = attention.PackedLayout(spans, None, packed_seq_params.cos, packed_seq_params.sin)
    return sound_attention(self, q, k, v, packed_seq_params=whole)


def swapped_gate(weight: Any, tensors: list[torch.Tensor], shape: Any, rank: int, size: int) -> Any:
    return sound_cut(weight, tensors[::-1] if weight.cut == "gate_up" else tensors, shape, rank, size)


def one_key_more(self: Any, window: int | None) -> Any:
    return sound_window(self, window and window + 1)


def trained_observation(self: Any, index: int) -> Any:
    document = sound_document(self, index)
    weights = document.weights.copy()
    weights[np.flatnonzero(document.roles == 2)[0]] = 1.0
    return replace(document, weights=weights)


def halved_labels(losses: torch.Tensor, weights: torch.Tensor, total: torch.Tensor) -> Any:
    return (losses * weights).sum() / weights.sum()


sound_attention = attention.PackedAttention.forward
sound_cut = loading.cut
sound_window = attention.Spans.first_visible
sound_document = Corpus.document


@pytest.mark.parametrize(
    ("check", "where", "name", "broken"),
    [
        ("leak", attention.PackedAttention, "forward", blind_to_bounds),
        ("parity", loading, "cut", swapped_gate),
        ("audit", Corpus, "document", trained_observation),
        ("partition", forward_backward, "normalised", halved_labels),
    ],
)
def test_each_check_catches_its_defect(
    tmp_path: Path,
    model: Path,
    corpus: Path,
    monkeypatch: pytest.MonkeyPatch,
    check: str,
    where: Any,
    name: str,
    broken: Callable[..., Any],
) -> None:
    monkeypatch.setattr(where, name, broken)
    assert run_job(tmp_path, model, corpus, recipe(startup_checks=[check])) == exit_codes.CHECK_FAILED
    assert f"start-up check {check}:" in (tmp_path / "log-0.txt").read_text()
    assert not events(tmp_path, "step")


def test_parity_reaches_the_edge_of_the_window(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a document that trains a token beyond the window shows that it is a key too wide: the first fits into it,
    and what the second has beyond it is the user's."""
    texts = ["crate", "bolt"], ["crate", "bolt", "river " * 40], ["crate " * 40, "bolt " * 40]
    said = write_conversations(tmp_path / "r.jsonl", dict(zip("abc", texts, strict=True)))
    model = save_model(tmp_path / "model", tokenizer, MistralConfig(**SHAPE, sliding_window=60))
    corpus = tmp_path / "corpus"
    prepare(said, model, corpus, PrepareConfig(sequence_length=320))
    assert sorted(n > 60 for n in Corpus(corpus).lengths) == [False, True, True]
    train = recipe(
        startup_checks=["parity"], stop_after_steps=1, attention="reference", optimizer={"lr": 1e-3}, epochs=2
    )
    assert run_job(tmp_path / "sound", model, corpus, train) == exit_codes.STOPPED
    monkeypatch.setattr(attention.Spans, "first_visible", one_key_more)
    assert run_job(tmp_path / "wide", model, corpus, train) == exit_codes.CHECK_FAILED


def one_key_fewer(self: Any, window: int | None) -> Any:
    return sound_window(self, window and window - 1)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_window_is_checked_in_any_precision(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, corpus: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    """Documents are shorter than it, and bf16 rounds by more than one key in many matters."""
    model = save_model(tmp_path / "model", tokenizer, MistralConfig(**SHAPE, sliding_window=200))
    settings = {"precision": precision, "startup_checks": ["window"], "stop_after_steps": 1}
    sound = recipe(**settings, parallel={"tensor": 2, "sequence_parallel": True})
    assert run_job(tmp_path / "sound", model, corpus, sound, world=2) == exit_codes.STOPPED
    assert [check["name"] for check in events(tmp_path / "sound", "startup_check")] == ["window"]
    for edge in (one_key_more, one_key_fewer):
        monkeypatch.setattr(attention.Spans, "first_visible", edge)
        broken = recipe(**settings, attention="reference")
        assert run_job(tmp_path / edge.__name__, model, corpus, broken) == exit_codes.CHECK_FAILED


def last_end_untrained(self: Any, index: int) -> Any:
    document = sound_document(self, index)
    weights = document.weights.copy()
    weights[-1] = 0.0
    return replace(document, weights=weights)


def test_the_end_of_the_last_turn_is_audited(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A template that ends with the end token has nothing behind it."""
    template = "{% for m in messages %}{{ m['role'] + ' ' + m['content'] + '<|im_end|>' }}{% endfor %}"
    monkeypatch.setattr(tokenizer, "chat_template", template)
    model = save_model(tmp_path / "model", tokenizer, MistralConfig(**SHAPE))
    said = write_conversations(tmp_path / "r.jsonl", {"a": ["crate", "bolt"], "b": ["river", "price"]})
    prepare(said, model, tmp_path / "corpus", PrepareConfig(sequence_length=320))
    train = recipe(startup_checks=["audit"], stop_after_steps=1, epochs=5)
    assert run_job(tmp_path / "sound", model, tmp_path / "corpus", train) == exit_codes.STOPPED
    monkeypatch.setattr(Corpus, "document", last_end_untrained)
    assert run_job(tmp_path / "broken", model, tmp_path / "corpus", train) == exit_codes.CHECK_FAILED


def test_bf16_is_held_against_what_bf16_does_to_transformers(
    tmp_path: Path, model: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = recipe(startup_checks=["parity"], precision="bf16", stop_after_steps=1)
    assert run_job(tmp_path / "sound", model, corpus, train) == exit_codes.STOPPED
    monkeypatch.setattr(loading, "cut", one_row_off)
    assert run_job(tmp_path / "off", model, corpus, train) == exit_codes.CHECK_FAILED


def one_row_off(weight: Any, tensors: list[torch.Tensor], shape: Any, rank: int, size: int) -> Any:
    value = sound_cut(weight, tensors, shape, rank, size)
    return value.roll(1, 0) if weight.cut == "qkv" else value


def test_a_piece_that_begins_with_an_end_token_is_no_turn_without_one() -> None:
    """Splitting left a turn's end token to the piece behind it, where nothing predicts it."""
    roles = np.array([ROLES["assistant"], ROLES["none"], ROLES["assistant"]], np.uint8)
    piece = Document(np.array([2, 7, 8], np.int32), roles, np.array([0, 0, 1], np.float32))
    assert mask_audit.unended_turns(piece, roles == ROLES["assistant"], ends=[2]) == 0
