"""Lint of the prose: a short list of words that plain technical English does without.

``make lint`` runs this file alone. A line that needs such a word says so with ``prose: allow`` in a comment.
"""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORDS = ("whatever", "whoever", "anew", "told", "tells", r"reckon\w*", "lacks", "meanwhile", "heed", "sow", "thereof")
STILTED = re.compile(rf"\b(?:{'|'.join(WORDS)})\b", re.IGNORECASE)
SUFFIXES = {".py", ".md", ".yaml", ".yml", ".toml", ".cff", ".sbatch", ".def", ".j2"}
FOLDERS = (
    "sandbox",
    "codeact_train",
    "rollout",
    "eval",
    "launch",
    "configs",
    "tests",
    "docs",
    "examples",
    "benchmarks",
)
MOST_IN_10_000 = 3
"""Lines with such a word, of 10,000."""


def text_files() -> Iterator[Path]:
    """Every file of the project that holds prose."""
    files = [*ROOT.glob("*"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*"))]
    for path in sorted(files):
        if path.suffix in SUFFIXES and path.is_file() and ROOT / "tests" / "data" not in path.parents:
            yield path


def test_the_prose_is_plain() -> None:
    lines, found = 0, []
    for path in text_files():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            lines += 1
            if path != Path(__file__) and STILTED.search(line) and "prose: allow" not in line:
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert len(found) * 10_000 <= MOST_IN_10_000 * lines, "\n".join(["plainer words, please:", *found])
