"""The whole loop on a tiny random model: every stage for real, then again with nothing left to do."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from launch.config import load
from launch.loop import run_loop

RECIPE = """
run: {run}
model: {model}
protocol: {{max_invalid: 1}}
collect:
  sources:
    - {{engine: expert, tasks: {{count: 8}}}}
    - {{engine: model, tasks: {{count: 2, seed: 1}}, sampling: {{max_tokens: 8, temperature: 1.0}}}}
  workers: {{warm_kernels: 2}}
prepare: {{sequence_length: 2048, over_long: drop}}
train: {{epochs: 1, global_batch_packs: 2, threads: 1, tensorboard: false}}
evaluate:
  benchmarks: [{{name: few, tasks: {{split: heldout, count: 5}}}}]
  sampling: {{max_tokens: 8}}
  workers: {{warm_kernels: 2}}
serve: {{threads: 1, cache_gib: 1}}
"""


def codeact(*arguments: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "launch.cli", *arguments], capture_output=True, text=True, cwd=cwd, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return done.stderr + done.stdout


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> Path:
    """A finished loop."""
    folder = tmp_path_factory.mktemp("loop")
    (folder / "recipe.yaml").write_text(RECIPE.format(run=folder / "run", model=tiny_llama))
    codeact("loop", "recipe.yaml", cwd=folder)
    return folder / "run"


def test_every_stage_left_what_the_documents_say(run: Path) -> None:
    bank = [json.loads(line) for shard in (run / "bank").glob("*.jsonl") for line in shard.read_text().splitlines()]
    assert len(bank) == 10 and sum(record["outcome"]["success"] for record in bank) >= 8
    kept = [json.loads(line) for line in (run / "records.jsonl").read_text().splitlines()]
    ledger = json.loads((run / "corpus" / "ledger.json").read_text())
    assert ledger["records_read"] == len(kept) == json.loads((run / "selection.json").read_text())["kept"]
    steps = [json.loads(line) for line in (run / "train" / "metrics.jsonl").read_text().splitlines()]
    assert [step["step"] for step in steps if step["kind"] == "step"]
    results = [json.loads(path.read_text()) for path in (run / "eval" / "results").glob("*.json")]
    assert sorted(result["checkpoint"]["name"] for result in results) == ["base", "epoch-1"]
    assert all(len(result["episodes"]) == 5 for result in results)
    assert all(result["engine"]["parity"]["mean_difference"] < 0.01 for result in results)
    page = (run / "report.html").read_text()
    assert "epoch-1" in page and "http-equiv" not in page
    assert {"config.yaml", "environment.json", "report.md"} <= {path.name for path in run.iterdir()}


def test_a_second_loop_computes_nothing_again(run: Path) -> None:
    def finished() -> dict[str, float]:
        written = [*run.glob("bank/*.jsonl"), *run.glob("eval/*/*.json*"), *run.glob("train/exports/*/model*")]
        return {str(path): path.stat().st_mtime for path in written}

    before = finished()
    codeact("loop", "recipe.yaml", cwd=run.parent)
    assert finished() == before


def test_the_newest_checkpoint_can_be_exported_again(run: Path) -> None:
    codeact("export", "recipe.yaml", "--out", "again", cwd=run.parent)
    assert (run.parent / "again" / "model.safetensors").read_bytes() == (
        run / "train" / "exports" / "epoch-1" / "model.safetensors"
    ).read_bytes()


def test_a_tokenizer_that_prepare_would_refuse_ends_the_loop_before_it_collects(
    tmp_path: Path, tiny_llama: Path
) -> None:
    model = shutil.copytree(tiny_llama, tmp_path / "model")
    (model / "chat_template.jinja").unlink()
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(run=tmp_path / "run", model=model))
    config = load(tmp_path / "recipe.yaml", [])
    with pytest.raises(ValueError, match=f"model={model}: no chat template"):
        run_loop(config)
    assert not (tmp_path / "run" / "bank").exists()
