"""Every command with every kind of bad input: one sentence that names it, exit code 2, nothing written."""

import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from launch.cli import app
from launch.run_dir import RunDir

VERBS = [
    ["loop"], ["collect"], ["select"], ["prepare"], ["train"], ["train", "--plan"], ["train", "--slurm"],
    ["export", "--out", "out"], ["evaluate"], ["report"], ["serve", "model"],
]  # fmt: skip
NOT_TEXT = bytes(range(256)) * 4
NOBODY = 65534
LATIN_1 = "run: café\n".encode("latin-1")


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs the command in ``tmp_path``, checks that it refuses, and returns what it says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CODEACT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")  # a command that does not refuse must not fetch the model

    def run(*arguments: str) -> str:
        before = files(tmp_path)
        result = CliRunner().invoke(app, arguments, prog_name="codeact")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise AssertionError(f"codeact {' '.join(arguments)}") from result.exception
        assert result.exit_code == 2, result.output
        assert "Traceback" not in result.output
        assert files(tmp_path) == before, "it wrote something"
        return " ".join(result.stderr.split())

    return run


def files(folder: Path) -> list[Path]:
    """The files in a folder, without those that mark and lock a run folder."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))


def put(path: Path, content: bytes | None) -> None:
    """A file with this content; a folder for ``None``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)


CONFIGS = {
    "folder": (None, "it is a folder"),
    "binary": (NOT_TEXT, "a configuration is text in UTF-8"),
    "latin-1": (LATIN_1, "a configuration is text in UTF-8"),
    "no mapping": (b"- a\n- b\n", "must be a mapping"),
    "broken": (b"run: [a\n", "line 2"),
    "unknown section": (b"trian: {}\n", "did you mean 'train'?"),
    "unknown key": (b"train: {epoch: 2}\n", "did you mean 'epochs'?"),
    "section of another type": (b"train: 3\n", "train"),
    "text for a number": (b"train: {epochs: many}\n", "'many'"),
    "negative number": (b"train: {epochs: -1}\n", "-1"),
    "not a number": (b"train: {optimizer: {lr: .nan}}\n", "nan"),
    "infinite number": (b"train: {optimizer: {lr: .inf}}\n", "inf"),
    "null": (b"run: null\n", "run"),
}


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_a_configuration_that_cannot_be_used(
    refused: Callable[..., str], tmp_path: Path, verb: list[str], kind: str
) -> None:
    content, said = CONFIGS[kind]
    put(tmp_path / "c.yaml", content)
    answer = refused(*verb, "c.yaml")
    assert "c.yaml" in answer and said in answer, answer


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
@pytest.mark.parametrize("name", ["nowhere.yaml", "nowhere/c.yaml", "file/c.yaml", "a[red]b.yaml", "x" * 300])
def test_a_configuration_that_is_not_there(
    refused: Callable[..., str], tmp_path: Path, verb: list[str], name: str
) -> None:
    (tmp_path / "file").write_text("")
    assert name in refused(*verb, name)


DAMAGED = {
    "empty": b"",
    "cut": b'{"a": [1, ',
    "binary": NOT_TEXT,
    "latin-1": LATIN_1,
    "list": b"[1]",
    "empty object": b"{}",
}
FILES = {
    "model/config.json": ["train"],
    "r/corpus/corpus.json": ["train"],
    "r/bank/trajectories-00001.jsonl": ["select"],
    "r/train/exports/epoch-1/export.json": ["evaluate"],
    "r/eval/results/x.json": ["report"],
    "r/train/metrics.jsonl": ["report"],
    "r/corpus/ledger.json": ["report"],
    "r/selection.json": ["report"],
    "r/environment.json": ["report"],
    "base.yaml": ["select", "extends.yaml"],
    "cluster.yaml": ["train", "--plan", "launch.cluster=cluster.yaml"],
    "tenants.yaml": ["serve", "sandbox", "--tenants", "tenants.yaml"],
}
HARMLESS = {  # what a reader may take as it is: a line that is still being written, a page without these numbers
    *(("base.yaml", kind) for kind in ("empty", "empty object")),
    *((f"r/{name}.json", "empty object") for name in ("corpus/ledger", "selection", "environment")),
    *(("r/train/metrics.jsonl", kind) for kind in ("empty", "cut")),
    *(("r/bank/trajectories-00001.jsonl", kind) for kind in ("empty", "cut")),
}


@pytest.mark.parametrize("kind", DAMAGED)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_named(
    refused: Callable[..., str], tmp_path: Path, tiny_llama: Path, name: str, kind: str
) -> None:
    if (name, kind) in HARMLESS:
        pytest.skip("read as it is")
    shutil.copytree(tiny_llama, tmp_path / "model")
    (tmp_path / "extends.yaml").write_text("extends: base.yaml\n")
    (tmp_path / "c.yaml").write_text("{run: r, model: model, evaluate: {base: false}}\n")
    RunDir(tmp_path / "r").claim()
    put(tmp_path / name, DAMAGED[kind] + (b"\n" if name.endswith(".jsonl") else b""))
    verb, *rest = FILES[name]
    given = [verb, *rest] if name in ("base.yaml", "tenants.yaml") else [verb, "c.yaml", *rest]
    answer = refused(*given)
    assert Path(name).name in answer or Path(name).parent.name in answer, answer


@pytest.mark.parametrize("verb", ["select", "train", "evaluate", "report"])
@pytest.mark.parametrize("run", ["file", "file/below", "x" * 300])
def test_a_run_folder_that_cannot_be(
    refused: Callable[..., str], tmp_path: Path, tiny_llama: Path, verb: str, run: str
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "c.yaml").write_text(f"model: {tiny_llama}\n")
    assert run in refused(verb, "c.yaml", f"run={run}")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["schema", "--out", "folder"], "--out=folder"),
        (["schema", "--out", "c.yaml/s.json"], "c.yaml: a file has the name of a folder that is needed here"),
        (["schema", "--out", "/dev/full"], "the disk is full"),
        (["serve", "sandbox", "--tenants", "nowhere.yaml"], "nowhere.yaml: cannot be read"),
        (["serve", "sandbox", "--tenants", "folder"], "folder: cannot be read"),
        (["select", "c.yaml", "extends=base.yaml"], "only a file can extend another"),
        (["train", "c.yaml", "model=folder"], "no config.json there"),
        (["train", "c.yaml", "--plan", "launch.cluster=nowhere"], "launch.cluster=nowhere: no such cluster"),
        (["sandbox", "soak", "--kernels", "-1"], "--kernels"),
        (["sandbox", "probe", "--tier", "T9"], "T9"),
        (["prove", "layouts", "--steps", "many"], "--steps"),
        (["evaluate", "c.yaml", "serve.host="], "serve.host"),
    ],
)
def test_another_mistake(refused: Callable[..., str], tmp_path: Path, arguments: list[str], said: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "c.yaml").write_text("run: r\n")
    assert said in refused(*arguments)


@pytest.fixture
def taken() -> Iterator[str]:
    """A port that another program holds."""
    with socket.create_server(("127.0.0.1", 0)) as program:
        yield str(program.getsockname()[1])


def test_a_port_that_is_taken(refused: Callable[..., str], tmp_path: Path, tiny_llama: Path, taken: str) -> None:
    (tmp_path / "c.yaml").write_text(f"model: {tiny_llama}\n")
    for command in (
        ["sandbox", "--port", taken, "--tier", "T0", "--warm", "0"],
        ["model", "c.yaml", f"serve.port={taken}"],
    ):
        answer = refused("serve", *command)
        assert taken in answer and "another program holds the port; end it, or give another" in answer


@pytest.fixture
def as_nobody() -> Iterator[Path]:
    """A folder of a user without the rights of root, who runs the test."""
    folder, root = Path(tempfile.mkdtemp()), os.geteuid() == 0
    if root:
        os.chown(folder, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    try:
        yield folder
    finally:
        if root:
            os.seteuid(0)
        shutil.rmtree(folder)


def test_what_may_not_be_read_or_written(as_nobody: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(as_nobody)
    Path("c.yaml").write_text("{}")
    Path("c.yaml").chmod(0)
    Path("locked").mkdir(0o555)
    for *arguments, path in (["select", "c.yaml"], ["schema", "--out", "locked/schema.json"]):
        result = CliRunner().invoke(app, [*arguments, path], prog_name="codeact")
        assert result.exit_code == 2, result.exception
        assert f"error: {path}" in result.stderr and ": no permission; change the rights" in result.stderr
