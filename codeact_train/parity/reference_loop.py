"""The same run by transformers and torch alone: documents one by one, AdamW, warm-up and cosine by hand.

Contract: uses the trainer's choice of packs for each step and nothing else it computes. Cost: no packing, no
parallelism.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoModelForCausalLM

from codeact_train.config.train import OptimizerSettings, TrainJob
from codeact_train.data.corpus import Corpus
from codeact_train.data.sampler import Sampler


def run(job: TrainJob, steps: int) -> list[tuple[float, float, float]]:
    """Loss and gradient norm of each of the first ``steps`` steps, and the validation loss after it."""
    train, corpus = job.train, Corpus(job.corpus)
    model = AutoModelForCausalLM.from_pretrained(job.model, dtype=torch.float32)
    settings = train.optimizer
    matrices, vectors = ([p for p in model.parameters() if (p.ndim > 1) == wide] for wide in (True, False))
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=settings.lr, betas=(settings.beta1, settings.beta2), eps=settings.eps)
    sampler = Sampler(corpus, "train", train)
    total = sampler.steps_per_epoch * train.epochs
    plan, held_out = corpus.packs("train"), corpus.packs("validation")
    curve = []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(settings, step + 1, total)
        optimizer.zero_grad()
        documents = [d for pack in sampler.packs_of(step) for d in plan[int(pack)]]
        loss, z_loss = mean_losses(model, corpus, documents)
        (loss + train.z_loss * z_loss).backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip_grad)
        optimizer.step()
        with torch.no_grad():
            validation, _ = mean_losses(model, corpus, held_out.document)
        curve.append((loss.item(), norm.item(), validation.item()))
    return curve


def learning_rate(settings: OptimizerSettings, step: int, total: int) -> float:
    """Learning rate of a step counted from 1: linear to the peak, then half a cosine to ``min_lr`` at ``total``."""
    if step <= settings.warmup_steps:
        return settings.lr * step / settings.warmup_steps
    done = (step - settings.warmup_steps) / (total - settings.warmup_steps)
    return settings.min_lr + (settings.lr - settings.min_lr) * (1 + math.cos(math.pi * done)) / 2


def mean_losses(model: torch.nn.Module, corpus: Corpus, documents: Iterable[int]) -> tuple[Tensor, Tensor]:
    """Weighted means over the trained tokens of documents, one forward pass a document: of the loss, and of the squared
    logarithm of the softmax's denominator."""
    sums, weights = torch.zeros(2), 0.0
    for index in documents:
        document = corpus.document(int(index))
        ids = torch.from_numpy(document.ids.astype(np.int64))
        weights_L = torch.from_numpy(document.weights[1:].copy())
        logits_LV = model(ids[None, :-1]).logits[0]
        losses_2L = torch.stack(
            [F.cross_entropy(logits_LV, ids[1:], reduction="none"), logits_LV.logsumexp(-1).square()]
        )
        sums = sums + (losses_2L * weights_L).sum(1)
        weights += float(weights_L.sum())
    loss, z_loss = sums / weights
    return loss, z_loss
