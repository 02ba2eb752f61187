"""Data sets of records: statistics, the card, and there and back through a folder and a hub."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from codeact_train.data.toy_tokenizer import make_toy_tokenizer
from launch.cli import app
from launch.publish.build import Publication, records_of
from launch.publish.tokens import token_counter
from launch.publish.transfer import pull, push_to_folder, push_to_hub
from rollout import token_table
from tests.helpers.fake_hub import fake_hub


def conversation(number: int, source: str) -> dict[str, Any]:
    turns: list[dict[str, Any]] = [
        {"role": "user", "content": f"question {number}"},
        {"role": "assistant", "content": "wrong", "weight": 0.0},
        {"role": "user", "content": "no"},
        {"role": "assistant", "content": f"answer {number}"},
    ]
    return {"id": f"{source}/{number}", "source": source, "group": f"g{number}", "conversations": turns}


@pytest.fixture
def splits(tmp_path: Path) -> dict[str, str]:
    """Twelve records of two families, and five of a general part."""
    made = {
        "codeact": [conversation(number, f"math/{number % 2}" if number < 9 else "tables/sql") for number in range(12)],
        "general": [conversation(number, "openorca") for number in range(5)],
    }
    for split, records in made.items():
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))
    return {split: str(tmp_path / f"{split}.jsonl") for split in made}


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def words(texts: Any) -> list[int]:
    return [len(text.split()) for text in texts]


def test_there_and_back_through_a_folder_in_a_seeded_order(splits: dict[str, str], tmp_path: Path) -> None:
    what = Publication(splits, "Mine", selection=None, count_tokens=words, tokenizer="words")
    tables = push_to_folder(what, tmp_path / "one")
    assert tables["codeact"]["math"] == {"instances": 9, "turns": 36, "tokens": 54, "average": 6.0}
    push_to_folder(what, tmp_path / "two")
    files = ["README.md", "data/codeact-00000-of-00001.parquet", "data/general-00000-of-00001.parquet"]
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in files)
    assert pull(str(tmp_path / "one"), tmp_path / "back") == {"codeact": 12, "general": 5}
    before, after = lines(Path(splits["codeact"])), lines(tmp_path / "back" / "codeact.jsonl")
    assert after != before and sorted(after, key=lambda one: one["id"]) == sorted(before, key=lambda one: one["id"])
    push_to_folder(Publication(splits, "Mine", seed=1), tmp_path / "one")  # replaces what an earlier push wrote
    assert pull(str(tmp_path / "one"), tmp_path / "back") == {"codeact": 12, "general": 5}
    assert lines(tmp_path / "back" / "codeact.jsonl") != after


def test_there_and_back_through_a_hub_in_one_commit(splits: dict[str, str], tmp_path: Path) -> None:
    with fake_hub() as hub:
        _, address = push_to_hub(Publication(splits, "Mine"), "me/mine", endpoint=hub.url)
        assert address == f"{hub.url}/datasets/me/mine/commit/{hub.revision}"
        assert hub.commits == ["Write codeact, general"] and len(hub.data_sets["me/mine"]) == 4
        assert pull("me/mine", tmp_path / "back", endpoint=hub.url) == {"codeact": 12, "general": 5}
        push_to_hub(Publication({"codeact": splits["general"]}, "Mine"), "me/mine", endpoint=hub.url)
        assert [name for name in hub.data_sets["me/mine"] if "general" in name] == [] and len(hub.commits) == 2
        assert pull("me/mine", tmp_path / "back", endpoint=hub.url) == {"codeact": 5}
        assert not (tmp_path / "back" / "general.jsonl").exists()


def test_a_hub_that_refuses_is_one_sentence_and_loses_nothing(splits: dict[str, str], tmp_path: Path) -> None:
    with fake_hub() as hub:
        with pytest.raises(
            ValueError, match=r"me/none: cannot be fetched .*; check the name, the network and HF_TOKEN"
        ):
            pull("me/none", tmp_path / "back", endpoint=hub.url)
        hub.refuse = 403
        with pytest.raises(ValueError, match="--hub me/mine: cannot be pushed"):
            push_to_hub(Publication(splits, "Mine"), "me/mine", endpoint=hub.url)
        hub.refuse = None
        hub.data_sets["me/theirs"] = {"data/train.parquet": b"x", "README.md": b"theirs"}
        with pytest.raises(ValueError, match=r"it holds data/train.parquet, not pushed by codeact"):
            push_to_hub(Publication(splits, "Mine"), "me/theirs", endpoint=hub.url)
        assert not hub.commits and hub.data_sets["me/theirs"]["README.md"] == b"theirs"
    assert not (tmp_path / "back").exists()


def test_the_card_has_the_front_matter_the_hub_reads_and_the_papers_tables(
    splits: dict[str, str], tmp_path: Path
) -> None:
    selection = {
        "input": 40,
        "kept": 12,
        "dropped": {"tier easy": 28},
        "tiers": {
            "easy": {"episodes": 28, "tasks": 20},
            "medium": {"episodes": 12, "tasks": 9},
            "hard": {"tasks": 3, "by_family": {"math": 3}},
        },
        "decontamination": {"compared": {"gsm8k/test": 1319}, "listed_tasks": 0, "not_compared": {}},
        "success": {
            "math": {"claude": {"episodes": 8, "successes": 2}},
            "tables": {"gpt": {"episodes": 4, "successes": 3}},
        },
    }
    (tmp_path / "selection.json").write_text(json.dumps(selection))
    what = Publication(splits, "Mine", "mit", tmp_path / "selection.json", count_tokens=words, tokenizer="words")
    push_to_folder(what, tmp_path / "made")
    _, front, text = (tmp_path / "made" / "README.md").read_text().split("---\n", 2)
    meta = yaml.safe_load(front)
    assert meta["license"] == "mit" and meta["size_categories"] == ["n<1K"]
    assert meta["configs"][0]["data_files"][0] == {"split": "codeact", "path": "data/codeact-*.parquet"}
    for row in (
        "| codeact | math | 9 | 36 | 54 | 6.00 |",
        "| codeact | **all** | 12 | 48 | 72 | 6.00 |",
        "| **mixture** | **all** | 17 | 68 | 102 | 6.00 |",
        "| claude | 25.0% of 8 | – | 25.0% of 8 |",
        "| gpt | – | 75.0% of 4 | 75.0% of 4 |",
        "| tier easy | 28 |",
        "| medium | 12 | 9 |",
        "gsm8k/test (1,319 tasks)",
    ):
        assert row in text


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["push", "codeact={file}"], "give one of --folder DIR and --hub OWNER/NAME"),
        (["push", "{file}", "--folder", "{out}"], "write SPLIT=FILE"),
        (["push", "a b={file}", "--folder", "{out}"], "the name of a split has letters"),
        (["push", "codeact={file}", "--folder", "{users}"], "holds notes.txt, not written as part of this data set"),
        (["push", "codeact={broken}", "--folder", "{out}"], "line 2: conversations: Field required"),
        (["push", "codeact={file}", "--folder", "{out}", "--selection", "{file}"], "not a selection.json"),
        (["stats", "{none}"], "no such file"),
        (["pull", "{users}", "--out", "{out}"], "it is no data set of records"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(
    splits: dict[str, str], tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    (tmp_path / "users").mkdir()
    (tmp_path / "users" / "notes.txt").write_text("mine")
    (tmp_path / "broken.jsonl").write_text(json.dumps(conversation(1, "x")) + '\n{"id": "2"}\n')
    names = {"file": splits["codeact"], "broken": tmp_path / "broken.jsonl", "none": tmp_path / "none.jsonl"}
    names |= {"users": tmp_path / "users", "out": tmp_path / "out"}
    result = CliRunner().invoke(app, ["records", *(one.format(**names) for one in arguments)], prog_name="codeact")
    assert result.exit_code == 2 and sentence in " ".join(result.stderr.split())
    assert not (tmp_path / "out").exists()
    assert [path.name for path in (tmp_path / "users").iterdir()] == ["notes.txt"]


def test_stats_count_tokens_by_family(splits: dict[str, str], tmp_path: Path) -> None:
    make_toy_tokenizer(["question answer wrong no 0 1 2 3 4 5 6 7 8 9"], 300).save_pretrained(tmp_path / "model")
    (table,) = (token_table(records_of(splits["general"]), token_counter(tmp_path / "model")),)
    assert table["openorca"]["tokens"] > 5 * 4 and table["total"] == table["openorca"]
    given = [f"{split}={path}" for split, path in splits.items()]
    result = CliRunner().invoke(app, ["records", "stats", *given])
    assert "| codeact | math | 9 | 36 |" in result.stdout and "| **mixture** | **all** | 17 | 68 |" in result.stdout
