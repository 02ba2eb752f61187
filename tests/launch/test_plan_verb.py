"""``codeact train --plan`` and ``--slurm`` as a person meets them."""

import json
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from launch.cli import app

ROOT = Path(__file__).resolve().parents[2]
LLAMA, MISTRAL, DEMO = (str(ROOT / "configs" / f"{name}.yaml") for name in ("llama2_7b_4k", "mistral_7b_16k", "demo"))


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """The verb in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Any:
        result = CliRunner().invoke(app, ["train", *arguments], prog_name="codeact")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.mark.parametrize(("file", "packs", "steps"), [(LLAMA, "19379", 606), (MISTRAL, "4833", 152)])
def test_the_papers_recipes_fit_where_the_paper_trained(
    train: Callable[..., Any], tmp_path: Path, file: Path, packs: str, steps: int
) -> None:
    shown = train(file, "--plan", "--json", "--no-dry-run", "--packs", packs)
    assert shown.exit_code == 0, shown.output
    plan = json.loads(shown.stdout)
    assert plan["predicted"] is True and plan["cluster"]["name"] == "4xa100-40g"
    assert plan["chosen"]["fits"] and plan["chosen"]["name"] == "TP4"
    assert plan["workload"]["steps_per_epoch"] == steps  # as the paper's own, one checkpoint an epoch
    assert list(tmp_path.iterdir()) == []


def test_a_plan_says_that_it_is_predicted_and_names_what_is_unknown(train: Callable[..., Any]) -> None:
    shown = train(LLAMA, "--plan", "--no-dry-run")
    assert shown.exit_code == 0, shown.output
    for words in ("predicted", "none was measured", "optimizer", "TP4", "MFU", "--packs N", "#SBATCH"):
        assert words in shown.stdout


def test_values_laid_over_the_file_are_planned_with(train: Callable[..., Any]) -> None:
    shown = train(LLAMA, "launch.cluster=8xa100-80g", "train.parallel.tensor=2", "--plan", "--json", "--no-dry-run")
    plan = json.loads(shown.stdout)
    assert plan["chosen"]["layout"]["data"] == 4
    assert "train.parallel.tensor=2" in plan["command"]


def test_what_a_plan_shows_can_be_typed_again(train: Callable[..., Any]) -> None:
    sources = "prepare.sources=[{path: /data/code act, name: codeact}]"
    plan = json.loads(train(LLAMA, sources, "--plan", "--json", "--no-dry-run").stdout)
    assert shlex.split(plan["command"])[2:4] == [LLAMA, sources]
    assert f"{LLAMA} {shlex.quote(sources)} " in plan["slurm"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([LLAMA, "--plan", "train.parallel.tensor=3"], "parallel.tensor=3"),
        ([LLAMA, "--plan", "launch.cluster=moon"], "launch.cluster=moon"),
        ([LLAMA, "--plan", "prepare.sequence_length=8192"], "sequence_length=8192"),
        ([DEMO, "--plan"], "launch.cluster=null"),
        ([DEMO, "--slurm"], "launch.cluster=null"),
        ([], "no configuration"),
        ([DEMO, "--validate"], "--validate needs --plan"),
        ([DEMO, "--json", "--packs", "7"], "--json, --packs needs --plan"),
        ([LLAMA, "--plan", "--slurm"], "give one of them"),
        ([LLAMA, "--plan", "--packs", "0"], "--packs"),
    ],
)
def test_what_cannot_run_is_refused_in_a_sentence(
    train: Callable[..., Any], tmp_path: Path, arguments: list[Any], said: str
) -> None:
    refused = train(*arguments)
    assert refused.exit_code == 2 and said in refused.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_cost_model_is_checked_by_a_command(train: Callable[..., Any]) -> None:
    shown = train("--plan", "--validate")
    assert shown.exit_code == 0
    assert "CodeAct Mistral-7B 16k" in shown.stdout and "held out" in shown.stdout


def test_slurm_writes_a_script_and_freezes_what_it_trains(
    train: Callable[..., Any], tmp_path: Path, tiny_llama: Path
) -> None:
    cluster = tmp_path / "two.yaml"
    cluster.write_text(
        (ROOT / "configs/clusters/4xa100-40g.yaml").read_text().replace("gpus_per_node: 4", "gpus_per_node: 2")
    )
    written = train(DEMO, f"model={tiny_llama}", "run=r", f"launch.cluster={cluster}", "train.epochs=3", "--slurm")
    assert written.exit_code == 0, written.output
    assert "sbatch r/train.sbatch" in " ".join(written.stderr.split())
    assert "epochs: 3" in (tmp_path / "r/train.yaml").read_text()
    script = (tmp_path / "r/train.sbatch").read_text()
    assert "r/train.yaml" in script and "#SBATCH --gpus-per-node=2" in script
    assert subprocess.run(["bash", "-n", str(tmp_path / "r/train.sbatch")], check=False).returncode == 0
