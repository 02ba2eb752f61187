"""The start-up proofs hold on a sound trainer, in every layout, and fail on a broken one."""

from dataclasses import replace

import numpy as np
import pytest
from train_jobs import SHAPE, events, recipe, run_job, save_model
from transformers import MistralConfig

from codeact_train import attention, exit_codes, steps
from codeact_train.corpus import Corpus
from codeact_train.hf import loading


def test_proofs_hold_in_a_layout_with_everything(tmp_path, model, corpus):
    parallel = {"tensor": 2, "sequence_parallel": True}
    assert run_job(tmp_path, model, corpus, recipe(parallel=parallel, epochs=1), world=2) == 0
    proofs = {p["name"]: p for p in events(tmp_path, "proof")}
    assert set(proofs) == {"leak", "parity", "audit", "partition"}
    assert proofs["parity"]["value"] < 1e-5


def test_a_proof_can_be_left_out(tmp_path, model, corpus):
    assert run_job(tmp_path, model, corpus, recipe(proofs=["audit"], stop_after_steps=1)) == exit_codes.STOPPED
    assert [p["name"] for p in events(tmp_path, "proof")] == ["audit"]


def blind_to_bounds(self, q, k, v, attention_mask=None, *, packed_seq_params, **rest):
    spans = attention.Spans.of((0, q.shape[0]), 0, q.shape[0])
    whole = attention.PackedLayout(spans, None, packed_seq_params.cos, packed_seq_params.sin)
    return sound_attention(self, q, k, v, packed_seq_params=whole)


def swapped_gate(weight, tensors, shape, rank, size):
    return sound_cut(weight, tensors[::-1] if weight.cut == "gate_up" else tensors, shape, rank, size)


def one_key_more(self, window):
    return sound_window(self, window and window + 1)


def trained_observation(self, index):
    document = sound_document(self, index)
    weights = document.weights.copy()
    weights[np.flatnonzero(document.roles == 2)[0]] = 1.0
    return replace(document, weights=weights)


def halved_labels(losses, weights, total):
    return (losses * weights).sum() / weights.sum()


sound_attention = attention.PackedAttention.forward
sound_cut = loading.cut
sound_window = attention.Spans.first_visible
sound_document = Corpus.document


@pytest.mark.parametrize(
    ("proof", "where", "name", "broken"),
    [
        ("leak", attention.PackedAttention, "forward", blind_to_bounds),
        ("parity", loading, "cut", swapped_gate),
        ("audit", Corpus, "document", trained_observation),
        ("partition", steps, "normalised", halved_labels),
    ],
)
def test_each_proof_catches_its_defect(tmp_path, model, corpus, monkeypatch, proof, where, name, broken):
    monkeypatch.setattr(where, name, broken)
    assert run_job(tmp_path, model, corpus, recipe(proofs=[proof])) == exit_codes.PROOF_FAILED
    assert f"proof {proof}:" in (tmp_path / "log-0.txt").read_text()
    assert not events(tmp_path, "step")


def test_parity_reaches_the_edge_of_the_window(tmp_path, tokenizer, corpus, monkeypatch):
    """The shortest document fits into the window; only a longer one shows that it is a key too wide."""
    window = int(Corpus(corpus).lengths.min()) + 8
    model = save_model(tmp_path / "model", tokenizer, MistralConfig(**SHAPE, sliding_window=window))
    train = recipe(proofs=["parity"], stop_after_steps=1, attention="reference")
    assert run_job(tmp_path / "sound", model, corpus, train) == exit_codes.STOPPED
    monkeypatch.setattr(attention.Spans, "first_visible", one_key_more)
    assert run_job(tmp_path / "wide", model, corpus, train) == exit_codes.PROOF_FAILED
