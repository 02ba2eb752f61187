"""Which columns and cells of a table a question names.

Contract: words are compared without case, accents, punctuation and a plural ending. No model and no list of synonyms
beyond :data:`ALSO`.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from rollout.families.wikitablequestions.table import Cell, Table

ALSO = {
    "who": (
        "name",
        "player",
        "driver",
        "rider",
        "candidate",
        "athlete",
        "cyclist",
        "winner",
        "artist",
        "skier",
        "actor",
    ),
    "when": ("date", "year"),
    "where": ("venue", "location", "place", "city", "town"),
    "country": ("nation", "nationality"),
    "nation": ("country", "nationality"),
    "film": ("title", "movie"),
    "movie": ("title", "film"),
    "song": ("title", "single", "song title"),
    "album": ("title",),
    "show": ("title",),
    "team": ("club", "team name"),
    "club": ("team",),
    "person": ("name",),
    "game": ("opponent", "title"),
    "city": ("location", "town"),
    "location": ("place", "city", "venue"),
    "competitor": ("name", "athlete"),
    "athlete": ("name",),
    "racer": ("driver", "name", "rider"),
    "stadium": ("venue",),
    "network": ("channel",),
    "medal": ("total",),
}
"""Word of a question → headers that it can mean, the likeliest first."""


@dataclass(frozen=True)
class Named:
    """A cell that a question names, and where in the question's words."""

    column: str
    value: Cell
    start: int
    end: int


def words(text: object) -> list[str]:
    """The words of a text, in their plain form."""
    plain = unicodedata.normalize("NFKD", str(text)).casefold().replace("'s ", " ")
    plain = "".join(sign for sign in plain if not unicodedata.combining(sign))
    return [_stem(word) for word in re.findall(r"[a-z0-9]+(?:[.,]\d+)*", plain)]


def _stem(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


class Linker:
    """Finds columns and cells of one table."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.headers = {column: words(column) for column in table.columns}
        self._cells: dict[tuple[str, ...], tuple[str, Cell]] = {}
        for row in table.rows:
            for column, value in zip(table.columns, row, strict=True):
                key = tuple(words(value))
                if value is not None and key and len(key) <= 8:
                    self._cells.setdefault(key, (column, value))

    def column(self, phrase: list[str]) -> str | None:
        """The column that a phrase means: that with its words, else that with most of them, else a synonym."""
        exact = [column for column, header in self.headers.items() if header == phrase]
        if exact:
            return exact[0]
        found: list[tuple[float, int, str]] = []
        for place, (column, header) in enumerate(self.headers.items()):
            common = len(set(header) & set(phrase))
            if common:
                found.append((common / len(set(header) | set(phrase)), -place, column))
        if found:
            return max(found)[2]
        meant = [" ".join(words(also)) for word in phrase for also in ALSO.get(word, ())]
        return next(
            (column for name in meant for column in self.headers if name in " ".join(self.headers[column])), None
        )

    def named_columns(self, question: list[str]) -> list[str]:
        """The columns whose whole header is in the question, the longest first."""
        text = f" {' '.join(question)} "
        named = [c for c, header in self.headers.items() if header and f" {' '.join(header)} " in text]
        return sorted(named, key=lambda column: -len(self.headers[column]))

    def cells(self, question: list[str]) -> list[Named]:
        """The cells that the question names, without overlap, longer ones before shorter ones; in its order."""
        found: list[Named] = []
        taken: set[int] = set()
        for length in range(min(8, len(question)), 0, -1):
            for start in range(len(question) - length + 1):
                key, span = tuple(question[start : start + length]), set(range(start, start + length))
                if key not in self._cells or span & taken or not _telling(key):
                    continue
                column, value = self._cells[key]
                found.append(Named(column, value, start, start + length))
                taken |= span
        return sorted(found, key=lambda named: named.start)


def _telling(key: tuple[str, ...]) -> bool:
    """Whether words can name a cell: longer than two signs, or a year."""
    text = "".join(key)
    return len(text) > 2 and text not in {"the", "and", "who", "what", "year", "total", "one", "first", "last", "time"}
