"""The shipped recipe takes a bank of MINT's runs through tiers, filters, statistics and prepare to fifty steps."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from launch import stages
from launch.config import LoopConfig, load
from rollout import SelectConfig, read_trajectories
from rollout.select import choose
from tests.helpers.mint_bank import bank_of, runs_in
from tests.helpers.training import events, run_job

RECIPE = Path(__file__).parents[2] / "configs" / "mint_replay.yaml"
DATA = Path(os.environ.get("CODEACT_DATA", Path(__file__).parents[3] / "shared" / "data"))
FAILED = "Observation:\nTraceback (most recent call last)\nNameError: name 'x' is not defined"


def run(number: int, model: str = "small", turns: int = 3, success: bool = True, words: str = "") -> dict[str, Any]:
    """A run of MINT that fails first, goes on as often as asked, and answers."""
    messages = [
        {"role": "user", "content": f"Task:\nAdd the numbers {words or number} and {number + 1} for me, please."}
    ]
    for turn in range(turns - 1):
        code = (
            f"Assistant:\n<thought>I add turn {turn} of {model}.</thought>\n<execute>\nprint(x + {number})\n</execute>"
        )
        messages += [{"role": "assistant", "content": code}]
        messages += [{"role": "user", "content": FAILED if turn == 0 else f"Observation:\n{2 * number + turn}"}]
    messages.append({"role": "assistant", "content": f"Assistant:\n<solution>{number}</solution>"})
    family = ("gsm8k", "math")[number % 2]
    return {"task": family, "task_id": str(number), "model": model, "success": success, "messages": messages}


@pytest.fixture
def config(tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> LoopConfig:
    """The recipe with a tiny model, short packs, and an evaluation set of one question."""
    question = "Could the members of The Police have played a game of bridge with the three tenors in one evening?"
    (tmp_path / "data" / "strategyqa").mkdir(parents=True)
    row = {"qid": "q", "question": question, "answer": True}
    (tmp_path / "data" / "strategyqa" / "dev.jsonl").write_text(json.dumps(row) + "\n")
    monkeypatch.setenv("CODEACT_DATA", str(tmp_path / "data"))
    small = ["prepare.sequence_length=128", "train.threads=1", "train.tensorboard=false", "prepare.deduplicate=exact"]
    small += ["train.optimizer.lr=3.0e-3"]
    config = load(RECIPE, [f"run={tmp_path / 'run'}", f"model={tiny_llama}", *small])
    runs = [run(number, model) for number in range(24) for model in ("small", "large")]
    runs += [run(number, "fast", turns=2) for number in range(4)]
    runs += [run(100, success=False), run(101, words=question)]
    bank_of(runs, config.run / "bank")
    return config


def test_a_bank_of_runs_becomes_fifty_steps_of_training(config: LoopConfig) -> None:
    stages.select(config)
    selection = json.loads((config.run / "selection.json").read_text())
    assert selection["dropped"]["tier easy"] == 4 and selection["dropped"]["not solved: wrong_answer"] == 1
    assert selection["dropped"]["contains a prompt of strategyqa/dev"] == 1
    assert selection["tiers"]["hard"] == {"tasks": 1, "by_family": {"gsm8k": 1}}
    assert selection["success"]["gsm8k"]["fast"] == {"episodes": 2, "successes": 2}
    total = selection["statistics"]["total"]
    assert total["instances"] == selection["kept"] > 20 and total["tokens"] > 50 * total["instances"]
    first = json.loads((config.run / "records.jsonl").read_text().splitlines()[0])
    assert first["id"].count("/") == 4 and not first["conversations"][2]["content"].startswith("Assistant")
    assert first["conversations"][2]["weight"] == 0.0  # the turn that failed is context
    stages.prepare(config)
    ledger = json.loads((config.run / "corpus" / "ledger.json").read_text())
    assert ledger["records_read"] == selection["kept"] and ledger["train"]["packs"] >= 50
    assert run_job(config.run / "train", Path(config.model), config.run / "corpus", config.train) in (0, 75)
    steps = events(config.run / "train", "step")
    assert [step["step"] for step in steps] == list(range(1, 51)) and steps[-1]["loss"] < steps[0]["loss"]


def test_every_published_run_is_found_to_be_of_an_evaluation_task(tmp_path: Path) -> None:
    """MINT words the questions of GSM8K in its own way; thirteen words are enough."""
    runs = DATA / "mint_trajectories" / "open.jsonl.gz"
    if not (runs.is_file() and (DATA / "gsm8k").is_dir()):
        pytest.skip(f"needs MINT's runs and GSM8K in {DATA} (CODEACT_DATA names another folder)")
    some = [run for run in runs_in(runs) if run["task"] == "gsm8k"][:40]
    everything = list(read_trajectories(bank_of(some, tmp_path / "bank")))
    sets = [{"family": "gsm8k", "split": "test", "count": None, "data_root": str(DATA)}]
    settings = {"require_clean_cell": False, "decontaminate": {"sets": sets}}
    kept, dropped = choose(everything, SelectConfig.model_validate(settings))
    assert not kept and dropped == {"contains a prompt of gsm8k/test": 40}
