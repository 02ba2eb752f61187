"""The run folder is the user's: what a command may write there, and what it decides before it writes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from codeact_train.system.folders import MARK
from launch.cli import app
from launch.run_dir import RunDir

COMPAT = Path(__file__).resolve().parents[1] / "data" / "compat"
Refused = Callable[..., str]


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Refused:
    """A command in ``tmp_path`` that ends with exit code 2 and changes no file; returns what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> str:
        before = contents(tmp_path)
        result = CliRunner().invoke(app, arguments, prog_name="codeact")
        assert result.exit_code == 2, (result.output, result.exception)
        assert contents(tmp_path) == before
        return " ".join(result.stderr.split())

    return run


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but the lock of a job."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != MARK}


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """The configuration of a run that an earlier version has trained for three steps."""
    run = tmp_path / "run"
    shutil.copytree(COMPAT / "run", run)
    job = json.loads((run / "train" / "job.json").read_text())
    settings = json.loads((run / "corpus" / "corpus.json").read_text())["settings"]
    shutil.copy(COMPAT / "records.jsonl", tmp_path)
    job["train"]["stop_after_steps"] = None
    config = {
        "run": "run",
        "model": str(run / "model"),
        "train": job["train"],
        "prepare": {**settings, "sources": [{"path": "records.jsonl"}], "decontaminate": []},
    }
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    return run


@pytest.mark.parametrize("verb", ["collect", "select", "prepare", "train", "evaluate", "report", "loop"])
@pytest.mark.parametrize("name", ["config.yaml", "report.md", "corpus/mine.txt"])
def test_a_users_folder_is_no_run(refused: Refused, tmp_path: Path, tiny_llama: Path, verb: str, name: str) -> None:
    (tmp_path / "mine" / name).parent.mkdir(parents=True)
    (tmp_path / "mine" / name).write_text("important: true")
    said = refused(verb, "configs/demo.yaml", "run=mine", f"model={tiny_llama}", "prepare.sequence_length=256")
    assert f"run=mine: {name.partition('/')[0]} there was not written by codeact" in said
    assert not (tmp_path / "mine" / MARK).exists()


def test_export_leaves_a_users_folder(refused: Refused, tmp_path: Path, trained: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").touch()
    assert "--out=precious: holds thesis.txt" in refused("export", "c.yaml", "--out", "precious")
    assert "--out=run" in refused("export", "c.yaml", "--out", "run")


def test_schema_leaves_a_users_file(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("words")
    assert "--out=thesis.txt: this is not a schema" in refused("schema", "--out", "thesis.txt")
    for _ in range(2):
        assert CliRunner().invoke(app, ["schema", "--out", "schema.json"]).exit_code == 0


@pytest.mark.parametrize("verb", ["train", "loop"])
def test_a_refused_change_names_key_and_values_and_changes_nothing(refused: Refused, trained: Path, verb: str) -> None:
    said = refused(verb, "c.yaml", "train.optimizer.lr=5e-4", "train.seed=7")
    before = json.loads((trained / "train" / "job.json").read_text())["train"]
    assert f"train.optimizer.lr=0.0005 (checkpoint: {before['optimizer']['lr']})" in said
    assert f"train.seed=7 (checkpoint: {before['seed']})" in said


def test_another_model_is_refused(refused: Refused, trained: Path, tiny_llama: Path) -> None:
    assert "model=" in refused("train", "c.yaml", f"model={tiny_llama}", "prepare.sequence_length=256")


def test_the_corpus_of_a_trained_run_is_not_replaced(refused: Refused, trained: Path) -> None:
    said = refused("prepare", "c.yaml", "prepare.sequence_length=99")
    assert "prepare.sequence_length=99 (the corpus has" in said


def test_a_second_job_is_refused(refused: Refused, trained: Path) -> None:
    with RunDir(trained).held():
        for verb in ("collect", "select", "prepare", "train", "evaluate", "loop"):
            assert "is using this folder" in refused(verb, "c.yaml")
    assert json.loads((trained / MARK).read_text()) == {"kind": "run", "holder": None}


def test_a_bank_of_another_protocol_is_not_continued(refused: Refused, tmp_path: Path) -> None:
    shutil.copytree(COMPAT / "bank", tmp_path / "run" / "bank")
    said = refused("collect", "configs/demo.yaml", "run=run", "protocol.max_steps=3")
    assert "protocol: the trajectories in run/bank were collected with" in said


def test_records_edited_by_hand_are_kept(refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(COMPAT / "bank", tmp_path / "run" / "bank")
    command = ["select", "configs/demo.yaml", "run=run"]
    for _ in range(2):
        assert CliRunner().invoke(app, command, prog_name="codeact").exit_code == 0
    records = tmp_path / "run" / "records.jsonl"
    records.write_text(records.read_text().replace("e", "E", 1))
    assert "records.jsonl was made or edited by hand" in refused(*command)
