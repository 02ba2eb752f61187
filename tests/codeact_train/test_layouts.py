"""Every layout computes the same training run, and the one an independent loop computes."""

from pathlib import Path

import pytest
from train_jobs import events, recipe, run_job

# Sums are formed in another order in each layout; float32 keeps them within a few units of the last place per step.
TOLERANCE = 2e-5


def curve(out: Path) -> list[tuple[float, float]]:
    """Loss and gradient norm of each step, then the validation losses."""
    steps = [(e["loss"], e["grad_norm"]) for e in events(out, "step")]
    return steps + [(e["loss"], 0.0) for e in events(out, "validation")]


@pytest.fixture(scope="module")
def single(tmp_path_factory, model, corpus) -> list[tuple[float, float]]:
    out = tmp_path_factory.mktemp("tp1")
    assert run_job(out, model, corpus, recipe()) == 0
    return curve(out)


def test_the_run_learns(single):
    steps = [loss for loss, norm in single if norm]
    assert steps[-1] < steps[0] - 0.5


@pytest.mark.parametrize(
    ("world", "parallel"),
    [
        (2, {"tensor": 2}),
        (4, {"tensor": 4}),
        (4, {"tensor": 4, "sequence_parallel": True}),
        (2, {"distributed_optimizer": True}),
        (4, {"tensor": 2, "sequence_parallel": True, "distributed_optimizer": True}),
    ],
    ids=["tp2", "tp4", "tp4-sp", "dp2-dist-opt", "tp2-sp-dp2-dist-opt"],
)
def test_layouts_agree(tmp_path, model, corpus, single, world, parallel):
    assert run_job(tmp_path, model, corpus, recipe(parallel=parallel), world) == 0
    assert curve(tmp_path) == [pytest.approx(point, rel=TOLERANCE, abs=TOLERANCE) for point in single]
