"""Paragraphs that the user has, found with BM25 (the library bm25s).

Contract: the index of a file of paragraphs is built once and kept below the cache folder under the digest of the file;
processes map it into memory and share its pages, and the episodes of a process share one reader. Building is atomic:
two processes that build at once get the same index.

Cost: an index holds about twelve bytes for each different word of each paragraph; building needs the whole file in
memory. A reader holds the vocabulary in memory, and nothing else. It does not stem words.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import bm25s
import numpy as np

from rollout.families.data.rows import read_rows
from rollout.families.search.toolset import Page

VERSION = 1
"""Of the form of an index; another number means another folder."""


@dataclass(frozen=True)
class ParagraphSource:
    """An index over the paragraphs of a file. Made by :func:`ParagraphSource.of`."""

    file: str
    folder: str
    digest: str

    @classmethod
    def of(cls, file: Path, cache: Path | None = None) -> ParagraphSource:
        """The index of a file, built when there is none.

        Args:
            file: JSON Lines, a JSON list (perhaps with ``.gz``) or Parquet. An item has ``title`` and
                ``text``, or is a question of HotpotQA with its ``context``.
            cache: folder of indices; by default ``$CODEACT_CACHE`` or ``.cache/codeact``.

        Raises:
            ValueError: the file is missing or holds no paragraphs.
        """
        try:
            digest = _digest(file)
        except OSError as error:
            raise ValueError(f"tasks.options.search: {file} cannot be read ({error.strerror}); name a file") from None
        cache = cache or Path(os.environ.get("CODEACT_CACHE", ".cache/codeact")).expanduser()
        source = cls(str(file.resolve()), str((cache / "paragraphs" / f"{digest}-{VERSION}").resolve()), digest)
        source.build()
        return source

    def build(self) -> None:
        """Builds the index unless it is there."""
        if not Path(self.folder).is_dir():
            _build(list(read_paragraphs(Path(self.file))), Path(self.folder))

    def find(self, query: str, count: int) -> list[Page]:
        """The paragraphs with the highest BM25 score. Paragraphs without a word of the query are left out."""
        self.build()  # another machine of a cluster has its own cache
        return _reader(self.folder).find(query, count)

    def describe(self) -> Any:
        """The digest of the paragraphs."""
        return ["paragraphs", self.digest]


def read_paragraphs(file: Path) -> Iterator[Page]:
    """The different paragraphs of a file, in its order.

    Raises:
        ValueError: an item is neither a paragraph nor a question with its context.
    """
    seen: set[tuple[str, str]] = set()
    for number, item in enumerate(read_rows(file), 1):
        try:
            for title, text in _paragraphs(item):
                if (title, text) not in seen:
                    seen.add((title, text))
                    yield Page(title, text)
        except (KeyError, TypeError, ValueError):
            raise ValueError(
                f"{file}: item {number} is no paragraph; write an object with title and text, or HotpotQA's questions"
            ) from None
    if not seen:
        raise ValueError(f"{file}: there are no paragraphs; write one JSON object with title and text a line")


def _paragraphs(item: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if "context" not in item:
        yield item["title"], item["text"] if isinstance(item["text"], str) else "".join(item["text"])
        return
    context = item["context"]
    pairs = zip(context["title"], context["sentences"], strict=True) if isinstance(context, dict) else context
    for title, sentences in pairs:
        yield title, "".join(sentences)


def _build(pages: list[Page], folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=folder.name, dir=folder.parent))
    try:
        index = bm25s.BM25()
        index.index(_words([f"{page.title}\n{page.text}" for page in pages]), show_progress=False)
        index.save(unfinished)
        offsets = [0]
        with (unfinished / "paragraphs.jsonl").open("wb") as file:
            for page in pages:
                offsets.append(offsets[-1] + file.write(json.dumps([page.title, page.text]).encode() + b"\n"))
        np.save(unfinished / "offsets.npy", np.array(offsets, dtype=np.int64))
        try:
            unfinished.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was first, with the same index
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


class _Reader:
    def __init__(self, folder: Path) -> None:
        self._index = bm25s.BM25.load(folder, mmap=True, show_progress=False)
        self._offsets = np.load(folder / "offsets.npy", mmap_mode="r")
        self._text = np.memmap(folder / "paragraphs.jsonl", dtype=np.uint8, mode="r")

    def find(self, query: str, count: int) -> list[Page]:
        words = _words([query])
        numbers, scores = self._index.retrieve(words, k=min(count, len(self._offsets) - 1), show_progress=False)
        return [self._page(int(n)) for n, score in zip(numbers[0], scores[0], strict=True) if score > 0]

    def _page(self, number: int) -> Page:
        line = self._text[self._offsets[number] : self._offsets[number + 1]].tobytes()
        return Page(*json.loads(line))


@lru_cache(maxsize=4)
def _reader(folder: str) -> _Reader:
    return _Reader(Path(folder))


def _words(texts: Iterable[str]) -> Any:
    """Tokens without case, accents and English stop words."""
    plain = ["".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)) for text in texts]
    return bm25s.tokenize(plain, show_progress=False)


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()[:16]
