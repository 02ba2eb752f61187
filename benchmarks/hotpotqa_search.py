"""Does the BM25 tool of HotpotQA find the supporting paragraphs?

    python benchmarks/hotpotqa_search.py --need 0.8

Builds the index over the paragraphs of the split ``distractor``, searches for each bare question, and prints for how
many questions a supporting paragraph, and both, are among the first five. A second search for the title of each first
result is what an agent does next; its results are counted, too. Exit code 1 when fewer than ``--need`` of the
questions find a supporting paragraph with the first search.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from rollout.families.data import DataRoot
from rollout.families.hotpotqa import PARAGRAPHS, generate
from rollout.families.search import ParagraphSource


def main() -> int:
    """Searches and prints; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--need", type=float, default=0.8, help="share of questions")
    parser.add_argument("--data-root", type=Path, default=None, help="folder of data sets")
    chosen = parser.parse_args()
    root, (file,) = DataRoot(chosen.data_root), generate.info.sources["distractor"]
    rows, source = list(root.rows(file)), ParagraphSource.of(root.find(file))
    began, one, both, later = time.perf_counter(), 0, 0, 0
    for row in rows:
        wanted = set(_titles(row["supporting_facts"]))
        found = [page.title for page in source.find(row["question"], PARAGRAPHS)]
        one += bool(wanted & set(found))
        both += wanted <= set(found)
        further = {page.title for title in found for page in source.find(title, PARAGRAPHS)}
        later += wanted <= set(found) | further
    spent_ms = 1000 * (time.perf_counter() - began) / len(rows) / (PARAGRAPHS + 1)
    print(f"{len(rows)} questions, first {PARAGRAPHS} results, {spent_ms:.2f} ms a search")
    print(f"a supporting paragraph: {one}; both: {both}; both after a search for each title: {later}")
    return 0 if one >= chosen.need * len(rows) else 1


def _titles(facts: dict[str, list[str]] | list[list[str]]) -> list[str]:
    """The titles of supporting facts, in the form of the hub or of the original."""
    return facts["title"] if isinstance(facts, dict) else [fact[0] for fact in facts]


if __name__ == "__main__":
    sys.exit(main())
