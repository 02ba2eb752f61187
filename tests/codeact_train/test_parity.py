"""The Megatron model is the Hugging Face model: weights bit for bit, losses to rounding, training step for step."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from codeact_train import train
from codeact_train.data.corpus import Corpus
from codeact_train.hf.export import weights_digest
from codeact_train.model import loss
from codeact_train.parity import reference_loop
from tests.helpers.training import events, recipe, run_job

TOLERANCE = 1e-5  # relative: float32 with sums formed in another order


@pytest.fixture(scope="module", params=["tied", "untied"])
def trained(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    model: Path,
    untied_model: Path,
    corpus: Path,
) -> tuple[Path, Path]:
    """A base model and a run of four epochs from it."""
    folder = model if request.param == "tied" else untied_model
    out = tmp_path_factory.mktemp(f"parity-{request.param}")
    assert run_job(out, folder, corpus, recipe(epochs=4, micro_batch_packs=2)) == 0
    return folder, out


def test_an_independent_loop_trains_the_same(trained: tuple[Path, Path]) -> None:
    """Documents one by one, by transformers and torch's AdamW."""
    _, out = trained
    ours = [(e["loss"], e["grad_norm"]) for e in events(out, "step")]
    theirs = reference_loop.run(train.read_job(out / "job.json"), len(ours))
    assert len(ours) > 10
    assert ours == [pytest.approx(point[:2], rel=TOLERANCE) for point in theirs]


def test_the_export_is_the_model_that_was_trained(trained: tuple[Path, Path], corpus: Path) -> None:
    """Its validation loss, by transformers on unpacked documents, is the one the trainer reported on packs."""
    _, out = trained
    exported = AutoModelForCausalLM.from_pretrained(out / "exports" / "epoch-4", dtype=torch.float32).eval()
    opened = Corpus(corpus)
    held_out = opened.packs("validation").document
    with torch.no_grad():
        loss, _ = reference_loop.mean_losses(exported, opened, held_out)
    reported = events(out, "validation")[-1]
    assert loss.item() == pytest.approx(reported["loss"], rel=TOLERANCE)
    assert sum((opened.document(int(d)).weights[1:] > 0).sum() for d in held_out) == reported["trained_tokens"]


def test_the_export_names_itself(trained: tuple[Path, Path], tokenizer: PreTrainedTokenizerFast) -> None:
    _, out = trained
    said = json.loads((out / "exports" / "epoch-4" / "export.json").read_text())
    event = events(out, "export")[-1]
    assert said["digest"] == event["digest"] == weights_digest(out / "exports" / "epoch-4")
    assert (said["epoch"], said["step"]) == (4, events(out, "step")[-1]["step"])
    assert len({e["digest"] for e in events(out, "export")}) == 4


def test_a_batch_without_trained_tokens_has_loss_0() -> None:
    losses = torch.zeros(0, requires_grad=True)
    part = loss.normalised(losses, torch.zeros(0), 0.0)
    part.backward()
    assert part.item() == 0
