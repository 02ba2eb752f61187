"""Domain ``archive``: linked documents that are read through a cursor, which remembers where it is."""

from __future__ import annotations

from random import Random
from typing import Any

from rollout.families.base import Toolset
from rollout.families.tool_suite.question import (
    LONG,
    MIDDLE,
    SHORT,
    TRUTH,
    TWO_DECIMALS,
    Domain,
    Question,
    only_best,
)

THINGS = ("Atlas", "Diary", "Ledger", "Letters", "Log", "Map", "Memoir", "Minutes", "Register", "Sketches")
PLACES = ("Ashby", "Corvo", "Dunmere", "Elswick", "Farrow", "Gorse", "Hatley", "Ilmen", "Jarvik", "Kestrel")
WRITERS = (
    "Amos Reed",
    "Berta Lind",
    "Cyril Pope",
    "Dora Finch",
    "Emil Krantz",
    "Fay Osborn",
    "Gus Tolley",
    "Ida Marsh",
)
FIELD = "def field(page, name):\n    return page.split(name + ': ')[1].split('\\n')[0]\n\n"
"""The function with which programs read a line of a page."""


class Archive(Toolset):
    """Documents of two pages. The cursor is at a page of a document, and knows the documents before it."""

    kind = "Archive"
    names = ("go_to", "view", "next_page", "links", "follow", "back", "position")

    def __init__(self, documents: dict[str, dict[str, Any]]) -> None:
        self.documents = documents
        self.visited: list[str] = []
        self.page = 1

    def go_to(self, title: str) -> str:
        """Go to the first page of a document and read it."""
        if title not in self.documents:
            raise ValueError(f"there is no document {title!r}")
        self.visited, self.page = [*self.visited, title], 1
        return self.view()

    def view(self) -> str:
        """Read the present page again: writer and year are on page 1, words and box on page 2."""
        document = self.documents[self._here()]
        names = ("writer", "year") if self.page == 1 else ("words", "box")
        lines = [f"{name.capitalize()}: {document[name]}" for name in names]
        return "\n".join([f"{self._here()} (page {self.page} of 2)", *lines])

    def next_page(self) -> str:
        """Turn to page 2 of the document and read it."""
        self._here()
        if self.page == 2:
            raise ValueError("this is the last page")
        self.page = 2
        return self.view()

    def links(self) -> list[str]:
        """Titles of the documents that the document links to, in order."""
        return list(self.documents[self._here()]["links"])

    def follow(self, number: int) -> str:
        """Follow a link of the document, counted from 1, and read the first page there."""
        links = self.links()
        if not 1 <= number <= len(links):
            raise ValueError(f"the document has {len(links)} links")
        return self.go_to(links[number - 1])

    def back(self) -> str:
        """Go back to the document before this one and read its first page."""
        if len(self.visited) < 2:
            raise ValueError("there is no document before this one")
        self.visited, self.page = self.visited[:-1], 1
        return self.view()

    def position(self) -> dict[str, Any]:
        """Title and page of the cursor."""
        return {"title": self._here(), "page": self.page}

    def _here(self) -> str:
        if not self.visited:
            raise ValueError("no document is open; go to one first")
        return self.visited[-1]


def world(rng: Random, level: str) -> Archive:
    """Ten documents. Links lead to documents further on, so that no way is a circle."""
    titles = [
        f"{thing} of {place}" for thing, place in zip(rng.sample(THINGS, 10), rng.sample(PLACES, 10), strict=True)
    ]
    documents: dict[str, dict[str, Any]] = {}
    for index, title in enumerate(titles):
        later = titles[index + 1 :]
        documents[title] = {
            "writer": rng.choice(WRITERS),
            "year": rng.randint(1780, 1960),
            "words": rng.randint(400, 9000),
            "box": rng.randint(1, 60),
            "links": rng.sample(later, min(len(later), rng.randint(1, 6))) if index < 8 else [],
        }
    return Archive({title: documents[title] for title in rng.sample(titles, 10)})


def _title(rng: Random, archive: Archive) -> str:
    return rng.choice(list(archive.documents))


def _linked(archive: Archive, title: str) -> list[dict[str, Any]]:
    return [archive.documents[other] for other in archive.documents[title]["links"]]


def _way(archive: Archive, title: str) -> list[str]:
    """The documents on the way of first links from a document, which is the first."""
    way = [title]
    while archive.documents[way[-1]]["links"]:
        way.append(archive.documents[way[-1]]["links"][0])
    return way


def _writer(rng: Random, archive: Archive) -> Question:
    title = _title(rng, archive)
    return Question(
        f"Who wrote the document '{title}'?",
        archive.documents[title]["writer"],
        f'{FIELD}answer = field(go_to("{title}"), "Writer")\nprint(answer)',
    )


def _words(rng: Random, archive: Archive) -> Question:
    title = _title(rng, archive)
    return Question(
        f"How many words does the document '{title}' have?",
        archive.documents[title]["words"],
        f'{FIELD}go_to("{title}")\nanswer = int(field(next_page(), "Words"))\nprint(answer)',
    )


def _link_list(rng: Random, archive: Archive) -> Question:
    title = _title(rng, archive)
    return Question(
        f"To which documents does the document '{title}' link? Answer with the list of their titles in alphabetical "
        "order.",
        sorted(archive.documents[title]["links"]),
        f'go_to("{title}")\nanswer = sorted(links())\nprint(answer)',
    )


def _before(rng: Random, archive: Archive) -> Question:
    title, year = _title(rng, archive), rng.randrange(1800, 1950, 10)
    return Question(
        f"Was the document '{title}' written before {year}? {TRUTH}",
        archive.documents[title]["year"] < year,
        f'{FIELD}answer = int(field(go_to("{title}"), "Year")) < {year}\nprint(answer)',
    )


def _third(rng: Random, archive: Archive) -> Question | None:
    way = _way(archive, _title(rng, archive))
    if len(way) < 3:
        return None
    return Question(
        f"Go to the document '{way[0]}', follow its first link, and there the first link again. In which year was the "
        "document written where you are then?",
        archive.documents[way[2]]["year"],
        f'{FIELD}go_to("{way[0]}")\nfollow(1)\nanswer = int(field(follow(1), "Year"))\nprint(answer)',
    )


def _box_of_last(rng: Random, archive: Archive) -> Question | None:
    title = _title(rng, archive)
    links = archive.documents[title]["links"]
    if len(links) < 2:
        return None
    number = rng.randint(2, len(links))
    return Question(
        f"In which box is the document to which link number {number} of '{title}' leads?",
        archive.documents[links[number - 1]]["box"],
        f'{FIELD}go_to("{title}")\nfollow({number})\nanswer = int(field(next_page(), "Box"))\nprint(answer)',
    )


def _mean_words(rng: Random, archive: Archive) -> Question:
    first, second = rng.sample(list(archive.documents), 2)
    return Question(
        f"What is the mean number of words of the documents '{first}' and '{second}'? {TWO_DECIMALS}",
        (archive.documents[first]["words"] + archive.documents[second]["words"]) / 2,
        f'{FIELD}words = []\nfor title in ("{first}", "{second}"):\n    go_to(title)\n'
        '    words.append(int(field(next_page(), "Words")))\nanswer = sum(words) / 2\nprint(answer)',
    )


def _older(rng: Random, archive: Archive) -> Question:
    title = _title(rng, archive)
    year = archive.documents[title]["year"]
    return Question(
        f"Does the document '{title}' link to a document that is older than itself? {TRUTH}",
        any(document["year"] < year for document in _linked(archive, title)),
        f'{FIELD}year = int(field(go_to("{title}"), "Year"))\n'
        'years = [int(field(go_to(other), "Year")) for other in links()]\n'
        "answer = any(other < year for other in years)\nprint(answer)",
    )


def _writers(rng: Random, archive: Archive) -> Question:
    title = _title(rng, archive)
    return Question(
        f"Who wrote the documents to which '{title}' links? Answer with the list of the names in alphabetical order, "
        "each name once.",
        sorted({document["writer"] for document in _linked(archive, title)}),
        f'{FIELD}go_to("{title}")\nanswer = sorted({{field(go_to(other), "Writer") for other in links()}})\n'
        "print(answer)",
    )


def _oldest(rng: Random, archive: Archive) -> Question | None:
    title = _title(rng, archive)
    years = {other: float(archive.documents[other]["year"]) for other in archive.documents[title]["links"]}
    oldest = only_best(years, min) if len(years) > 1 else None
    if oldest is None:
        return None
    return Question(
        f"Which is the oldest of the documents to which '{title}' links? Answer with its title.",
        oldest,
        f'{FIELD}go_to("{title}")\nyears = {{other: int(field(go_to(other), "Year")) for other in links()}}\n'
        "answer = min(years, key=years.get)\nprint(answer)",
    )


def _total_words(rng: Random, archive: Archive) -> Question:
    title = _title(rng, archive)
    return Question(
        f"How many words do the documents have together to which '{title}' links?",
        sum(document["words"] for document in _linked(archive, title)),
        f'{FIELD}go_to("{title}")\nanswer = 0\nfor other in links():\n    go_to(other)\n'
        '    answer += int(field(next_page(), "Words"))\nprint(answer)',
    )


def _end_of_way(rng: Random, archive: Archive) -> Question:
    way = _way(archive, _title(rng, archive))
    return Question(
        f"Begin at the document '{way[0]}' and follow the first link of each document until one has no links. Who "
        "wrote that last document?",
        archive.documents[way[-1]]["writer"],
        f'{FIELD}page = go_to("{way[0]}")\nwhile links():\n    page = follow(1)\n'
        'answer = field(page, "Writer")\nprint(answer)',
    )


DOMAIN = Domain(
    world,
    {
        SHORT: (_writer, _words, _link_list, _before),
        MIDDLE: (_third, _box_of_last, _mean_words, _older),
        LONG: (_older, _writers, _oldest, _total_words, _end_of_way),
    },
)
