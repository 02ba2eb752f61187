"""The general mixture: the paper's rules, each with the number of records that it leaves."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from launch.cli import app
from launch.mixture import build_mixture
from launch.mixture.parts import PARTS, capybara, openorca
from launch.mixture.sharegpt import sharegpt
from launch.mixture.steps import Steps

DATA = Path(os.environ.get("CODEACT_DATA", Path(__file__).parents[3] / "shared" / "data")) / "sft_general"


def said(*roles: str, text: str = "x") -> dict[str, Any]:
    return {"conversations": [{"from": role, "value": text} for role in roles]}


def test_the_chain_of_sharegpt_counts_every_filter() -> None:
    rows = [
        {"id": "good", **said("human", "gpt", "human", "gpt")},
        said("human", "gpt"),
        said("gpt", "gpt", "gpt", "gpt"),
        said("human", "human", "human", "human"),
        said("human", "gpt", "human", "gpt", text="Cancelled"),
        said("gpt", "human", "gpt", "human"),
        said("human", "gpt", "gpt", "human"),
        said("human", "human", "gpt", "human"),
        said("human", "function_call", "observation", "gpt"),
        {"something": "else"},
        said("system", "human", "chatgpt", "bing"),
    ]
    steps = Steps()
    made = list(sharegpt(rows, steps, source="sharegpt", min_turns=4))
    assert list(steps.left.items()) == [
        ("roles are known", 9),
        ("at least 4 turns", 8),
        ("has a user", 7),
        ("has an assistant", 6),
        ("no turn is Cancelled", 5),
        ("the assistant is not first", 4),
        ("no two assistant turns", 3),
        ("no two user turns", 2),
    ]
    assert [one["id"] for one in made] == ["sharegpt/good", "sharegpt/10"]


def test_roles_and_texts_of_sharegpt_get_one_form() -> None:
    turns = [
        {"from": "human", "value": "snake\\_case"},
        {"from": "bard", "value": "yes"},
        {"from": "bing", "value": "found"},
        {"from": "gpt", "value": "This chat conversation is shared from somewhere"},
        {"from": "gpt", "value": "ok"},
    ]
    (made,) = sharegpt([{"items": turns}], Steps(), source="s", min_turns=2)
    assert [(turn["role"], turn["content"]) for turn in made["conversations"]] == [
        ("user", "snake_case"), ("assistant", "yes"), ("user", "Bing Search Result:\nfound"), ("assistant", "ok"),
    ]  # fmt: skip


def test_a_sample_depends_on_the_seed_alone() -> None:
    rows = [{"id": f"cot.{n}", "system_prompt": "", "question": f"q{n}", "response": "r"} for n in range(50)]
    rows += [{"id": "niv.1", "question": "q", "response": "r"}, {"id": "cot.x", "question": "q", "response": " "}]
    steps = Steps()
    found = list(openorca(rows, steps))
    assert steps.left == {"id begins with cot.": 51, "has question and answer": 50}
    one, again, other = (steps.sampled(found, 20, seed) for seed in (42, 42, 1))
    assert one == again != other and len(one) == 20 and one == [row for row in found if row in one]
    assert steps.left["sample of 20"] == 20 and steps.sampled(found, 500, 42) == found
    assert [turn["role"] for turn in one[0]["conversations"]] == ["system", "user", "assistant"]
    assert one[0]["conversations"][0]["content"] == ""


def test_pairs_of_capybara_become_turns() -> None:
    rows: list[dict[str, Any]] = [
        {"conversation": [{"input": "a", "output": "b"}, {"input": "c", "output": "d"}]},
        {"conversation": []},
    ]
    (made,) = capybara(rows, Steps())
    assert [turn["content"] for turn in made["conversations"]] == ["a", "b", "c", "d"]


def test_the_verb_writes_what_is_here_and_names_what_is_not(tmp_path: Path) -> None:
    rows = [
        {
            "id": f"cot.{n}",
            "question": "Is this English prose? I am sure that it is, and so are you, after a look at it.",
            "response": "r",
        }
        for n in range(3)
    ]
    rows.append(
        {
            "id": "cot.9",
            "question": "Ist das hier wirklich deutsche Prosa? Ich glaube schon, und du bestimmt auch, oder nicht?",
            "response": "r",
        }
    )
    (tmp_path / "capybara").mkdir()
    for name in PARTS["capybara"].files:
        (tmp_path / name).write_text(json.dumps({"conversation": [{"input": name, "output": "b"}]}))
    (tmp_path / "orca.json").write_text(json.dumps(rows))
    out = tmp_path / "general.jsonl"
    given = [
        "records",
        "general",
        f"openorca={tmp_path / 'orca.json'}",
        "--data-root",
        str(tmp_path),
        "--out",
        str(out),
    ]
    result = CliRunner().invoke(app, [*given, "--language", "en", "--json"])
    assert result.exit_code == 0, result.stderr
    shown = json.loads(result.stdout)
    assert [(part["part"], part["read"], part["kept"]) for part in shown["parts"]] == [
        ("openorca", 4, 3),
        ("capybara", 3, 3),
    ]
    assert list(shown["missing"]) == ["sharegpt", "sharegpt_gpt4"]
    ids = [json.loads(line)["id"] for line in out.read_text().splitlines()]
    assert ids == ["openorca/cot.0", "openorca/cot.1", "openorca/cot.2", "capybara/0", "capybara/1", "capybara/2"]
    before = out.read_bytes()
    existing = CliRunner().invoke(app, given)
    assert existing.exit_code == 2 and "general.jsonl exists; give another name, or --replace" in existing.stderr
    for wrong, sentence in (
        ([f"openorca={tmp_path / 'none.json'}"], "none.json"),
        ([f"capybara={tmp_path / 'orca.json'}"], "none of its 4 rows is kept (0 left: pairs are complete)"),
        (["alpaca=x"], "alpaca=...: no such part; choose from openorca"),
        (["openorca"], "write PART=PATH"),
    ):  # fmt: skip
        refused = CliRunner().invoke(app, ["records", "general", *wrong, "--out", str(out), "--replace"])
        assert refused.exit_code == 2 and sentence in " ".join(refused.stderr.split())
    assert out.read_bytes() == before


def test_real_conversations_with_tools_are_counted_and_left_out(tmp_path: Path) -> None:
    path = DATA / "glaive_toolcall_en_demo.json.gz"
    if not path.is_file():
        pytest.skip(f"needs {path} (CODEACT_DATA names another folder)")
    (part,), missing = build_mixture({"sharegpt_gpt4": [str(path)]}, tmp_path / "out.jsonl.gz")
    assert part.read == 300 and part.left["roles are known"] == part.kept == 147
    assert set(missing) == {"openorca", "sharegpt", "capybara"}
