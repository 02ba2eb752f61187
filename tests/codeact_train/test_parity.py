"""The Megatron model is the Hugging Face model: weights bit for bit, losses to rounding, training step for step."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from train_jobs import events, recipe, run_job
from transformers import AutoModelForCausalLM

from codeact_train.batches import Batches
from codeact_train.corpus import Corpus
from codeact_train.export import weights_digest
from codeact_train.micro_batch import MicroBatch

# float32 with sums formed in another order; losses are around 5
LOSS_TOLERANCE = 1e-5


def hugging_face_losses(model: torch.nn.Module, batch: MicroBatch) -> torch.Tensor:
    """Loss of each trained token, document by document, as transformers computes it."""
    parts = []
    for start, end in zip(batch.bounds[:-1], batch.bounds[1:], strict=True):
        inside = (batch.trained >= start) & (batch.trained < end)
        if inside.any():
            logits = model(batch.tokens[:, start:end]).logits[0]
            parts.append(F.cross_entropy(logits[batch.trained[inside] - start], batch.labels[inside], reduction="none"))
    return torch.cat(parts)


def independent_run(model_folder: Path, corpus: Path, train) -> list[tuple[float, float]]:
    """The same recipe by transformers and torch alone: documents one by one, AdamW, warm-up and cosine by hand."""
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32)
    settings = train.optimizer
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=settings.lr, betas=(settings.beta1, settings.beta2), eps=settings.eps)
    opened = Corpus(corpus)
    batches = Batches(opened, "train", train)
    total_steps, curve = batches.steps_per_epoch * train.epochs, []
    for step in range(total_steps):
        lr = settings.lr * (step + 1) / settings.warmup_steps
        if step + 1 > settings.warmup_steps:
            done = (step + 1 - settings.warmup_steps) / (total_steps - settings.warmup_steps)
            lr = settings.min_lr + (settings.lr - settings.min_lr) * (1 + np.cos(np.pi * done)) / 2
        for group in optimizer.param_groups:
            group["lr"] = lr
        batch = batches.step(step)
        loss = sum((hugging_face_losses(model, m) * m.weights).sum() for m in batch.micro_batches)
        loss = loss / sum(m.weights.sum() for m in batch.micro_batches)
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        optimizer.step()
        curve.append((loss.item(), norm.item()))
    return curve


@pytest.fixture(scope="module", params=["tied", "untied"])
def trained(request, tmp_path_factory, model, untied_model, corpus) -> tuple[Path, Path]:
    """A base model and a run of four epochs from it."""
    folder = model if request.param == "tied" else untied_model
    out = tmp_path_factory.mktemp(f"parity-{request.param}")
    assert run_job(out, folder, corpus, recipe(epochs=4, micro_batch_packs=2)) == 0
    return folder, out


def test_an_independent_loop_trains_the_same(trained, corpus):
    folder, out = trained
    ours = [(e["loss"], e["grad_norm"]) for e in events(out, "step")]
    theirs = independent_run(folder, corpus, recipe(epochs=4))
    assert len(ours) == len(theirs) > 10
    assert ours == [pytest.approx(point, rel=2e-5) for point in theirs]


def test_the_export_is_the_model_that_was_trained(trained, corpus):
    """Its validation loss, by transformers on unpacked documents, is the one the trainer reported on packs."""
    _, out = trained
    exported = AutoModelForCausalLM.from_pretrained(out / "exports" / "epoch-4", dtype=torch.float32).eval()
    batches = Batches(Corpus(corpus), "validation", recipe())
    micro = [m for batch in batches.epoch() for m in batch.micro_batches]
    with torch.no_grad():
        losses = torch.cat([hugging_face_losses(exported, m) for m in micro])
    reported = events(out, "validation")[-1]
    assert losses.mean().item() == pytest.approx(reported["loss"], rel=LOSS_TOLERANCE)
    assert len(losses) == reported["trained_tokens"]


def test_the_export_names_itself(trained, tokenizer):
    _, out = trained
    said = json.loads((out / "exports" / "epoch-4" / "export.json").read_text())
    event = events(out, "export")[-1]
    assert said["digest"] == event["digest"] == weights_digest(out / "exports" / "epoch-4")
    assert (said["epoch"], said["step"]) == (4, events(out, "step")[-1]["step"])
    assert len({e["digest"] for e in events(out, "export")}) == 4
