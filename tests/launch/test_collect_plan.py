"""``codeact collect --plan`` and the paper's recipe; ``codeact bank stats`` and ``export``."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from launch.cli import app
from launch.config import load
from rollout.bank.store import TrajectoryStore
from tests.helpers.episodes import record

RECIPE = "configs/codeactinstruct.yaml"
RUN = CliRunner()
PAPER = {"hotpotqa": 3000, "math": 5586, "apps": 4439, "wikitablequestions": 3000, "alfworld": 3553}


def test_the_papers_recipe_plans_its_collection_without_data_and_without_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEACT_DATA", str(tmp_path))
    (tmp_path / "prices.yaml").write_text("gpt-4-0613: {input: 2, output: 4}\n")
    prices = ["--prices", str(tmp_path / "prices.yaml")]
    done = RUN.invoke(app, ["collect", RECIPE, f"run={tmp_path / 'run'}", "--plan", "--json", *prices])
    assert done.exit_code == 0, done.output
    plan = json.loads(done.stdout)
    assert plan["estimated"] is True and "the paper's gpt-3.5-turbo-0613" in plan["estimate_source"]
    first = plan["sources"][:5]
    assert {one["family"]: one["tasks"] for one in first} == PAPER
    assert {one["basis"] for one in first} == {"known: the original's number"}
    assert all(one["basis"].startswith("estimated: ") for one in plan["sources"][5:])
    assert {one["tasks"] for one in plan["sources"][5:]} == {500, 351, 1831, 595}, "at most so many for the strong one"
    *teachers, strong = plan["teachers"]
    assert [one["episodes"] for one in teachers] == [sum(PAPER.values())] * 3 and teachers[0]["money"] is None
    tokens = teachers[0]["prompt_tokens"] + teachers[0]["completion_tokens"]
    assert tokens == pytest.approx(130.1e6, rel=1e-3), "141.9 million less those of StrategyQA"
    assert strong["money"] == round((strong["prompt_tokens"] * 2 + strong["completion_tokens"] * 4) / 1e6, 2) > 0
    missing = {one["family"]: one["get"] for one in plan["missing"]}
    assert {*PAPER, "prepare.sources", "general"} == set(missing) and all(missing.values())
    assert missing["prepare.sources"] == "codeact records general --out general.jsonl.gz"
    assert not (tmp_path / "run").exists(), "a plan writes nothing"

    shown = RUN.invoke(app, ["collect", RECIPE, f"run={tmp_path / 'run'}", "--plan"])
    assert shown.exit_code == 0 and "Missing on this machine" in shown.stdout and "no price" in shown.stdout


def test_the_papers_recipe_has_the_papers_rules() -> None:
    config = load(Path(RECIPE), [])
    assert config.protocol.name == "mint" and (config.protocol.max_steps, config.protocol.max_proposals) == (5, 2)
    assert config.protocol.countdown and config.protocol.output_chars == 2000
    tiers = config.select.tiers
    assert tiers is not None and tiers.keep == ("medium",) and config.select.form == "codeactinstruct"
    assert config.train.epochs == 5 and config.prepare.sequence_length == 4096
    strong = [source for source in config.collect.sources if source.only_unsolved]
    assert {source.names for source in strong} == {("strong",)}


def test_options_of_the_plan_need_the_plan() -> None:
    done = RUN.invoke(app, ["collect", RECIPE, "--json"])
    assert done.exit_code == 2 and "--json needs --plan" in done.output


def test_stats_and_export_read_the_bank_of_a_run(tmp_path: Path) -> None:
    with TrajectoryStore(tmp_path / "bank") as store:
        store.append(record(1, model="a"))
        store.append(record(1, model="b", success=False).model_copy(update={"id": "other"}))
    done = RUN.invoke(app, ["bank", "stats", str(tmp_path), "--json"])
    table = json.loads(done.stdout)
    assert {name: row["success"] for name, row in table["models"].items()} == {"a": 1.0, "b": 0.0}
    shown = RUN.invoke(app, ["bank", "stats", str(tmp_path)])
    assert shown.exit_code == 0 and "Success, %" in shown.stdout

    out = tmp_path / "groups.jsonl"
    done = RUN.invoke(app, ["bank", "export", str(tmp_path), "--form", "grpo", "--out", str(out)])
    assert done.exit_code == 0, done.output
    (group,) = map(json.loads, out.read_text().splitlines())
    assert group["sampled_rewards"] == [1.0, 0.0] or group["sampled_rewards"] == [0.0, 1.0]
    existing = RUN.invoke(app, ["bank", "export", str(tmp_path), "--form", "grpo", "--out", str(out)])
    assert existing.exit_code == 2 and "groups.jsonl exists; give another name, or --replace" in existing.output
    out = tmp_path / "more.jsonl"
    refused = RUN.invoke(app, ["bank", "export", str(tmp_path / "none"), "--form", "dpo", "--out", str(out)])
    assert refused.exit_code == 2 and "bank export: there is no bank in" in refused.output
