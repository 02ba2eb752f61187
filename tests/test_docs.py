"""The documents follow the tree: generated pages, links, file names and Python blocks."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md"))]
GENERATED = tuple(
    f"docs/reference/{name}.md" for name in ("configuration", "cli", "families", "benchmarks", "python-api")
)
WRITTEN = [page for page in PAGES if str(page.relative_to(ROOT)) not in GENERATED]
LONGEST_LINE = 240
"""Characters of a line, tables included."""


@pytest.fixture(scope="module")
def generated() -> dict[Path, str]:
    """What ``docs/generate.py`` writes for the tree as it is."""
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        from generate import pages

        return pages()
    finally:
        sys.path.remove(str(ROOT / "docs"))


@pytest.mark.parametrize("name", GENERATED)
def test_a_generated_page_is_up_to_date(name: str, generated: dict[Path, str]) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == generated[ROOT / name], "run `python docs/generate.py`"


def test_relative_links_lead_to_files() -> None:
    broken = []
    for page in PAGES:
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            target = link.partition("#")[0]
            if target and "://" not in link and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)}: {link}")
    assert not broken


def test_documents_named_in_the_tree_exist() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    missing = []
    for name in tracked:
        path = ROOT / name
        if path.suffix not in (".py", ".yaml", ".md", ".toml", ".cff") or name.startswith("tests/data/"):
            continue
        for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
            named = [] if "github.com/" in line else re.findall(r"(?<![\w/.-])docs/[\w/-]+\.md", line)
            missing += [f"{name}: {one}" for one in named if not (ROOT / one).exists()]
    assert not missing


def test_lines_of_documents_are_not_too_long() -> None:
    long = [
        f"{page.relative_to(ROOT)}:{number}: {len(line)}"
        for page in WRITTEN
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1)
        if len(line) > LONGEST_LINE
    ]
    assert not long


def python_blocks() -> Iterator[tuple[str, str]]:
    """Page and text of each Python block."""
    for page in WRITTEN:
        for _, block in re.findall(r"^( *)```python\n(.*?)^\1```$", page.read_text(encoding="utf-8"), re.M | re.S):
            yield str(page.relative_to(ROOT)), textwrap.dedent(block)


BLOCKS = list(python_blocks())


@pytest.mark.parametrize(("page", "block"), BLOCKS, ids=[f"{page}-{i}" for i, (page, _) in enumerate(BLOCKS)])
def test_a_python_block_stands_in_an_example_or_runs_by_itself(page: str, block: str, tmp_path: Path) -> None:
    examples = [textwrap.dedent(path.read_text(encoding="utf-8")) for path in (ROOT / "examples").glob("**/*.py")]
    wanted = [line.strip() for line in block.splitlines() if line.strip()]
    for example in examples:
        lines = [line.strip() for line in example.splitlines() if line.strip()]
        if any(lines[at : at + len(wanted)] == wanted for at in range(len(lines))):
            return
    run = subprocess.run(
        [sys.executable, "-c", block], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert run.returncode == 0, f"{page}: neither a part of an example nor a program:\n{block}\n{run.stderr}"
