"""The command as a person meets it: help, exit codes, one sentence for bad input, nothing started or written."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from launch import stages
from launch.cli import app
from launch.submit.torchrun import TrainingStopped

ROOT = Path(__file__).resolve().parents[2]
VERBS = ["collect", "select", "prepare", "train", "export", "evaluate", "report", "loop"]


@dataclass(frozen=True)
class Answer:
    """What a command came to."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def codeact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Answer]:
    """The command in an empty folder, in this process: a process of its own costs seconds of imports a case."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Answer:
        result = CliRunner().invoke(app, arguments, prog_name="codeact")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Answer(result.exit_code, result.stdout, result.stderr)

    return run


def test_the_installed_command_refuses_like_the_one_tested_here(tmp_path: Path) -> None:
    refused = subprocess.run(
        [sys.executable, "-m", "launch.cli", "train", "nowhere.yaml"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
    )
    assert refused.returncode == 2 and "nowhere.yaml: there is no such file" in refused.stderr


def test_help_names_every_verb_and_where_to_start(codeact: Callable[..., Answer], tmp_path: Path) -> None:
    shown = codeact("--help")
    assert shown.returncode == 0
    assert all(verb in shown.stdout for verb in VERBS)
    assert "configs/demo.yaml" in shown.stdout


def test_print_config_resolves_and_does_nothing(codeact: Callable[..., Answer], tmp_path: Path) -> None:
    shown = codeact("loop", str(ROOT / "configs/demo.yaml"), "train.epochs=7", "--print-config")
    assert shown.returncode == 0 and "epochs: 7" in shown.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_word_after_a_key_is_taken_as_written(codeact: Callable[..., Answer]) -> None:
    shown = codeact("prepare", "configs/demo.yaml", "prepare.deduplicate=off", "prepare.parity=off", "--print-config")
    assert shown.returncode == 0, shown.stderr
    assert "deduplicate: 'off'" in shown.stdout and "parity: 'off'" in shown.stdout


@pytest.mark.parametrize("verb", ["prepare", "train", "loop"])
def test_parity_is_a_word_for_the_setting(codeact: Callable[..., Answer], verb: str) -> None:
    shown = codeact(verb, "configs/demo.yaml", "--parity", "paper", "--print-config")
    assert shown.returncode == 0 and "parity: paper" in shown.stdout
    refused = codeact(verb, "configs/demo.yaml", "--parity", "exact")
    assert refused.returncode == 2 and "'exact' is not one of" in refused.stderr


def test_a_corpus_prepared_otherwise_is_not_trained_on(
    codeact: Callable[..., Answer], tmp_path: Path, tiny_llama: Path
) -> None:
    turns = [{"role": "user", "content": "1 + 1"}, {"role": "assistant", "content": "2"}]
    (tmp_path / "r.jsonl").write_text(json.dumps({"id": "a", "conversations": turns}) + "\n")
    (tmp_path / "c.yaml").write_text(f"run: r\nmodel: {tiny_llama}\nprepare: {{sources: [{{path: r.jsonl}}]}}\n")
    # in a process of its own: what tokenizes starts threads, and other tests fork
    prepared = subprocess.run(
        [sys.executable, "-m", "launch.cli", "prepare", "c.yaml"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
    )
    assert prepared.returncode == 0, prepared.stderr
    for words in (["--parity", "paper"], ["prepare.sequence_length=64"]):
        refused = codeact("train", "c.yaml", *words)
        assert refused.returncode == 2 and "run `codeact prepare` again" in refused.stderr
    assert not (tmp_path / "r" / "train").exists()


@pytest.mark.parametrize(("code", "resumes"), [(2, False), (3, False), (4, False), (75, True), (-9, True)])
def test_how_the_trainer_ended_is_how_the_command_ends(
    codeact: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch, code: int, resumes: bool
) -> None:
    def stopped(config: object) -> None:
        raise TrainingStopped(code, "the same command resumes from the last checkpoint, step-000004")

    monkeypatch.setattr(stages, "check_before_start", lambda config: None)
    monkeypatch.setattr(stages, "train", stopped)
    ended = codeact("train", str(ROOT / "configs/demo.yaml"))
    assert ended.returncode == (code if code > 0 else 1)
    assert ("resumes from the last checkpoint" in ended.stderr) == resumes


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["loop", "nowhere.yaml"], "nowhere.yaml: there is no such file"),
        (["train", "demo", "train.epoch=2"], "did you mean 'epochs'?"),
        (["prepare", "demo"], "run `codeact select` first"),
        (["select", "demo"], "collect first"),
        (["train", "demo", "model=no/such/folder/"], "no/such/folder"),
        (["evaluate", "demo", "evaluate.base=false"], "run `codeact train` first"),
        (["report", "demo"], "demo"),
        (["trian", "demo"], "No such command"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    codeact: Callable[..., Answer], arguments: list[str], said: str
) -> None:
    recipe = str(ROOT / "configs/demo.yaml")
    refused = codeact(*[recipe if word == "demo" else word for word in arguments])
    assert refused.returncode == 2, refused.stderr
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr


def test_an_impossible_layout_is_refused_before_anything_starts(
    codeact: Callable[..., Answer], tmp_path: Path, tiny_llama: Path
) -> None:
    recipe = str(ROOT / "configs/demo.yaml")
    for values, said in (
        (["train.parallel.tensor=7"], "parallel.tensor=7"),
        (["prepare.sequence_length=1000000"], "sequence_length=1000000"),
    ):
        refused = codeact("loop", recipe, f"model={tiny_llama}", "run=r", *values)
        assert refused.returncode == 2 and said in refused.stderr
        assert not (tmp_path / "r" / "bank").exists()
