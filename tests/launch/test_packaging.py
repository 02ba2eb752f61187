"""What an installation that is no checkout brings along: everything that is read beside the code."""

import subprocess
import sys
from pathlib import Path

import pytest

from launch import install

ROOT = Path(__file__).resolve().parents[2]
BESIDE = ("configs", "codeact_train", "eval", "launch", "sandbox")


def test_an_installation_holds_every_file_that_is_read(tmp_path: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("needs the checkout: git says which files belong to the project")
    build = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    listed = subprocess.run(["git", "ls-files", "-z", *BESIDE], cwd=ROOT, check=True, capture_output=True, text=True)
    tracked = {name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()}
    missing = sorted(name for name in tracked if not (tmp_path / name).exists())
    assert not missing


def test_a_users_folder_with_the_name_of_the_environment_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "thesis.txt").touch()
    monkeypatch.setattr(install, "VENV", tmp_path / ".venv")
    with pytest.raises(SystemExit) as refused:
        install.make_venv()
    assert refused.value.code == 2
    assert (tmp_path / ".venv" / "thesis.txt").exists()
