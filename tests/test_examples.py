"""The examples run, each alone, and the notebooks in a kernel of the sandbox."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from sandbox import probe
from sandbox.jupyter.provisioner import install_kernelspec

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))
BANK = ROOT / "examples" / "notebooks" / "bank"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_prints_what_its_arrows_say(path: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    run = subprocess.run(
        [sys.executable, path], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=180
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout
    for expected in re.findall(r"  # → (.+)", path.read_text(encoding="utf-8")):
        assert expected in run.stdout


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_has_at_most_60_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 60


def test_snippets_of_the_how_to_pages_are_the_text_of_examples() -> None:
    wrong = []
    for page in sorted((ROOT / "docs" / "how-to").glob("*.md")):
        pattern = r"```python\n((?:(?!```).)*?)\n```\n\n\(From `(examples/[a-z_]+\.py)`\.\)"
        for snippet, example in re.findall(pattern, page.read_text(encoding="utf-8"), flags=re.DOTALL):
            lines = [line.strip() for line in (ROOT / example).read_text(encoding="utf-8").splitlines()]
            if "\n".join(line.strip() for line in snippet.splitlines()) not in "\n".join(lines):
                wrong.append(f"{page.name}: {snippet[:60]!r} is not in {example}")
    assert not wrong


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_gives_its_stored_outputs_in_a_kernel_of_the_sandbox(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = "/data/bank" if probe().tier in ("T2", "T3") else str(BANK)  # T1 shows a folder at its own path only
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    install_kernelspec(tmp_path, policy={"read_only": {seen: str(BANK)}})
    stored = nbformat.read(path, as_version=4)
    fresh = nbformat.from_dict(stored)
    for cell in fresh.cells:
        cell.source = cell.source.replace("/data/bank", seen)
    NotebookClient(fresh, timeout=60, kernel_name="codeact", record_timing=False).execute()
    for old, new in zip(stored.cells, fresh.cells, strict=True):
        assert _texts(old) == _texts(new)


def _texts(cell: nbformat.NotebookNode) -> list[str]:
    """What a cell printed and showed, as text; which exception stops an attempt depends on the tier."""
    shown = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.get("outputs", ())]
    return [re.sub(r"stopped: \w+", "stopped", text) for text in shown]
