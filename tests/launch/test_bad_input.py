"""Every command with every kind of bad input: one sentence that names it, exit code 2, nothing written."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from launch.cli import app

VERBS = [
    ["loop"], ["collect"], ["select"], ["prepare"], ["train"], ["train", "--plan"], ["train", "--slurm"],
    ["export", "--out", "out"], ["evaluate"], ["report"], ["serve", "model"],
]  # fmt: skip
NOT_TEXT = bytes(range(256)) * 4
LATIN_1 = "run: café\n".encode("latin-1")


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs the command in ``tmp_path``, checks that it refuses, and returns what it says."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> str:
        before = sorted(tmp_path.rglob("*"))
        result = CliRunner().invoke(app, arguments, prog_name="codeact")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise AssertionError(f"codeact {' '.join(arguments)}") from result.exception
        assert result.exit_code == 2, result.output
        assert "Traceback" not in result.output
        assert sorted(tmp_path.rglob("*")) == before, "it wrote something"
        return " ".join(result.stderr.split())

    return run


def put(path: Path, content: bytes | None) -> None:
    """A file with this content; a folder for ``None``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)


CONFIGS = {
    "folder": (None, "is a folder"),
    "binary": (NOT_TEXT, "c.yaml"),
    "latin-1": (LATIN_1, "UTF-8"),
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
@pytest.mark.parametrize(
    "name", ["nowhere.yaml", "nowhere/c.yaml", "file/c.yaml", "a[red]b.yaml", "x" * 300, "nul\0.yaml"]
)
def test_a_configuration_that_is_not_there(
    refused: Callable[..., str], tmp_path: Path, verb: list[str], name: str
) -> None:
    (tmp_path / "file").write_text("")
    assert name in refused(*verb, name)
