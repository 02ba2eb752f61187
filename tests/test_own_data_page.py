"""docs/how-to/train-on-your-own-data.md: its files, configurations and commands work as they stand there."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from launch.cli import app
from tests.helpers.models import llama, training_tokenizer

PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "train-on-your-own-data.md"
TEXT = PAGE.read_text(encoding="utf-8")
FILES = dict(re.findall(r'```\w+ title="([^"]+)"\n(.*?)```', TEXT, re.S))
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, re.S)
COMMANDS = re.findall(r"^codeact .+$", TEXT, re.M)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with a model, and the files of the page."""
    home = tmp_path_factory.mktemp("home")
    llama(home / "models" / "my-model", training_tokenizer(), tied=True)
    for name, text in FILES.items():
        (home / name).write_text(text, encoding="utf-8")
    return home


@pytest.fixture(autouse=True)
def at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs there."""
    monkeypatch.chdir(home)
    monkeypatch.setenv("HOME", str(home))


def codeact(*arguments: str) -> None:
    result = CliRunner().invoke(app, arguments, prog_name="codeact")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output


def test_the_python_block_writes_the_tables(home: Path) -> None:
    for block in PYTHON:
        exec(block, {})
    assert (home / "chats.parquet").is_file() and (home / "saved").is_dir()


@pytest.mark.parametrize(
    ("config", "trained"), [("mine.yaml", 2), ("forms.yaml", 5), ("masked.yaml", 1), ("tools.yaml", 1)]
)
def test_a_configuration_prepares_its_records(config: str, trained: int, home: Path) -> None:
    assert config in FILES
    codeact("prepare", config)
    run = home / "runs" / config.removesuffix(".yaml")
    ledger = json.loads((run / "corpus" / "ledger.json").read_text())
    assert ledger["records_read"] == ledger["records_kept"] == trained
    assert not (home / "~").exists()


def test_prepare_names_what_it_drops_and_where_the_list_is(home: Path) -> None:
    (home / "mixed.jsonl").write_text((home / "chats.jsonl").read_text() + (home / "masked.jsonl").read_text() * 2)
    overrides = ["prepare.sources=[{path: mixed.jsonl}]", "run=runs/mixed"]
    result = CliRunner().invoke(app, ["prepare", "mine.yaml", *overrides], prog_name="codeact")
    said = " ".join(result.stderr.split())
    assert result.exit_code == 0
    assert "dropped: mixed.jsonl line 3 (repair): turn 1 has train=false" in said
    assert "and 1 more; all are listed in runs/mixed/corpus/dropped.jsonl" in said
    listed = [json.loads(line) for line in (home / "runs/mixed/corpus/dropped.jsonl").read_text().splitlines()]
    assert [(one["line"], one["id"], one["reason"]) for one in listed] == [
        (3, "repair", "mask_key"),
        (4, "repair", "mask_key"),
    ]


@pytest.mark.parametrize("line", [line for line in COMMANDS if not line.startswith("codeact train")])
def test_a_command_works(line: str) -> None:
    program, *arguments = shlex.split(line)
    assert program == "codeact"
    codeact(*arguments)


def test_the_command_that_trains_has_a_configuration_that_loads() -> None:
    (line,) = [line for line in COMMANDS if line.startswith("codeact train")]
    codeact(*shlex.split(line)[1:], "--print-config")
