"""What only a GPU can show: its kernels train what transformers trains, and what it saves it reads back.

Jobs run in processes of their own: one that has spoken to the device cannot be forked.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from codeact_train.config.train import TrainJob
from codeact_train.model.attention import backends
from codeact_train.parity import reference_loop, toy_models
from codeact_train.parity.cases import Row
from codeact_train.system.exit_codes import STOPPED
from tests.helpers.training import events

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here, and nothing stands in"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model with a window and grouped queries, and a corpus."""
    models, corpus = toy_models.make(tmp_path_factory.mktemp("toys"))
    return models["mistral"], corpus


def train(out: Path, made: tuple[Path, Path], **settings: object) -> TrainJob:
    """Run a job in bf16 until it stops as configured."""
    job = Row("on a GPU", 1, {"precision": "bf16", **settings}).job(*made, out, toy_models.FAMILIES["mistral"].settings)
    out.mkdir(exist_ok=True)
    (out / "job.json").write_text(job.model_dump_json())
    command = [sys.executable, "-m", "codeact_train", "--config", str(out / "job.json")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert ended.returncode == STOPPED, ended.stderr
    return job


@pytest.mark.parametrize("kernel", ["flash", "varlen", "flex", "sdpa"])
def test_every_kernel_trains_like_a_plain_loop(tmp_path: Path, made: tuple[Path, Path], kernel: str) -> None:
    """In bf16, against transformers in float32."""
    if lacking := backends.BACKENDS[kernel].unavailable("bf16", 16):
        pytest.skip(lacking)
    checks = ["leak", "window", "parity", "audit", "prompt", "partition"]
    job = train(tmp_path, made, attention=kernel, stop_after_steps=8, startup_checks=checks)
    theirs = reference_loop.run(job, 8)
    steps = events(tmp_path, "step")
    assert [e["loss"] for e in steps] == pytest.approx([loss for loss, _, _ in theirs], rel=0.02)
    assert [e["grad_norm"] for e in steps] == pytest.approx([norm for _, norm, _ in theirs], rel=0.05)
    assert [check["name"] for check in events(tmp_path, "startup_check")] == checks


def test_what_a_gpu_saves_it_reads_back_bit_for_bit(tmp_path: Path, made: tuple[Path, Path]) -> None:
    """Weights, main weights and moments: a job that goes on and leaves its step out saves the same again."""
    train(tmp_path, made, stop_after_steps=2, checkpoint={"keep": 2})
    train(tmp_path, made, stop_after_steps=3, checkpoint={"keep": 2}, guard={"skip_steps": [3]})
    saved = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("checkpoints/step-*/meta.json"))]
    assert len(saved) == 2
    assert saved[0]["fingerprints"] == saved[1]["fingerprints"]
