"""The protocol of a run by name, its single keys, and the prompt that `codeact tasks show` prints."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from launch.cli.app import app
from launch.config.errors import ConfigError
from launch.config.load import dump, load
from rollout import EpisodeProtocol


def read(folder: Path, content: str, *overrides: str) -> EpisodeProtocol:
    path = folder / "run.yaml"
    path.write_text(content)
    return load(path, list(overrides)).protocol


def test_a_run_names_its_protocol_and_changes_single_keys_of_it(tmp_path: Path) -> None:
    named = read(tmp_path, "protocol: mint\n")
    assert named == EpisodeProtocol.model_validate("mint")
    assert read(tmp_path, "protocol: mint\n", "protocol.max_steps=3").max_steps == 3
    assert read(tmp_path, "protocol: mint\n", "protocol=chat").name == "chat"
    assert read(tmp_path, "protocol: {extends: mint, max_steps: 4}\n").max_proposals == 2
    (tmp_path / "base.yaml").write_text("protocol: {name: own, max_steps: 2, countdown: true}\n")
    assert read(tmp_path, "extends: base.yaml\nprotocol: chat\n") == EpisodeProtocol.model_validate("chat")
    changed = read(tmp_path, "extends: base.yaml\nprotocol: {max_steps: 7}\n")
    assert (changed.name, changed.max_steps) == ("own", 7)


def test_the_resolved_configuration_gives_the_same_protocol(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text("protocol: mint\n")
    first = load(tmp_path / "one.yaml", [])
    (tmp_path / "two.yaml").write_text(dump(first))
    assert load(tmp_path / "two.yaml", []).protocol.ref == first.protocol.ref


def test_an_unknown_protocol_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"protocol: .*'mnt' is neither a shipped protocol nor a file; choose from"):
        read(tmp_path, "protocol: mnt\n")


def show(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["tasks", "show", *arguments])
    return result.exit_code, result.output


def test_the_whole_prompt_is_shown() -> None:
    code, text = show("procedural", "--protocol", "chat")
    assert code == 0
    system, user = text.split("## user\n\n")
    assert system.startswith("## system\n\nYou are a helpful assistant with a Python session.")
    assert user.startswith("Task:\n")
    code, text = show("procedural", "--protocol", "mint", "--json")
    (message,) = json.loads(text)["messages"]
    assert code == 0 and message["role"] == "user"
    assert message["content"].startswith("You solve a task") and "\n---\nTask:\n" in message["content"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["procedural", "--protocol", "mnt"], "chat, codeact, complete-code"),
        (["nowhere"], "not a registered task family"),
        (["procedural", "--task", "none"], "has no such task; its first ids are"),
    ],
)
def test_what_cannot_be_shown_is_one_sentence(arguments: list[str], sentence: str) -> None:
    code, text = show(*arguments)
    assert code == 2 and sentence in " ".join(text.split())


def test_the_first_split_on_this_machine_is_shown(tmp_path: Path) -> None:
    (tmp_path / "gsm8k").mkdir()
    row = {"question": "How many are two and two?", "answer": "2 + 2 = 4\n#### 4"}
    (tmp_path / "gsm8k" / "test.jsonl").write_text(json.dumps(row) + "\n")
    code, text = show("gsm8k", "--data-root", str(tmp_path))
    assert code == 0 and text.endswith("How many are two and two?\n")
