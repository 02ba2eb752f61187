"""Domain ``library``: a catalogue with loans, fees for late books and reservations."""

from __future__ import annotations

import copy
from random import Random
from typing import Any

from rollout.bank.trajectory import digest_of
from rollout.families.base import Toolset
from rollout.families.procedural.vocabulary import NAMES
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

AUTHORS = ("Abel Stone", "Bente Holm", "Carla Reyes", "Dmitri Volkov", "Edda Brandt", "Farah Aziz", "Gil Navarro")
FIRST = ("Silent", "Golden", "Broken", "Hidden", "Distant", "Winter", "Paper", "Crimson", "Hollow", "Northern")
SECOND = ("River", "Garden", "Engine", "Harbour", "Orchard", "Mirror", "Lantern", "Bridge", "Island", "Compass")
SHELVES = ("history", "poetry", "science", "travel")


class Library(Toolset):
    """Books with copies, members with loans, and a fee for each day that a book is late."""

    kind = "Library"
    names = ("find_books", "describe_book", "copies_free", "loans_of", "days_late", "late_fee", "reserve")

    def __init__(
        self, books: dict[str, dict[str, Any]], loans: dict[str, dict[str, int]], fees: dict[str, list[float]]
    ) -> None:
        self.books, self.loans, self.fees = books, loans, fees

    def find_books(self, author: str) -> list[str]:
        """Numbers of the books by an author."""
        return [number for number, book in self.books.items() if book["author"] == author]

    def describe_book(self, number: str) -> dict[str, Any]:
        """Title, author, year, pages and shelf of a book."""
        return {key: value for key, value in self._book(number).items() if key != "free"}

    def copies_free(self, number: str) -> int:
        """How many copies of a book can be borrowed now."""
        return int(self._book(number)["free"])

    def loans_of(self, member: str) -> list[str]:
        """Numbers of the books that a member has at home."""
        return list(self._loans(member))

    def days_late(self, member: str, number: str) -> int:
        """By how many days a member is late with a book."""
        if number not in self._loans(member):
            raise ValueError(f"{member} has not borrowed {number}")
        return self._loans(member)[number]

    def late_fee(self, number: str, days: int) -> float:
        """Fee in euros for returning a book some days late."""
        each, most = self.fees[self._book(number)["shelf"]]
        return round(min(each * days, most), 2)

    def reserve(self, number: str, member: str) -> str:
        """Reserve a free copy of a book for a member; returns the number of the slip."""
        self._loans(member)
        if self._book(number)["free"] < 1:
            raise ValueError(f"no copy of {number} is free")
        self._book(number)["free"] -= 1
        return f"S{int(digest_of([number, member], 6), 16) % 100_000:05d}"

    def _book(self, number: str) -> dict[str, Any]:
        if number not in self.books:
            raise ValueError(f"there is no book {number!r}")
        return self.books[number]

    def _loans(self, member: str) -> dict[str, int]:
        if member not in self.loans:
            raise ValueError(f"there is no member {member!r}")
        return self.loans[member]


def world(rng: Random, level: str) -> Library:
    """Three authors with two to four books each, and three members with two to four loans each."""
    numbers = [f"B{number}" for number in rng.sample(range(100, 1000), 9)]
    titles = [f"{a} {b}" for a, b in zip(rng.sample(FIRST, 9), rng.sample(SECOND, 9), strict=True)]
    authors = [name for name, count in zip(rng.sample(AUTHORS, 3), (2, 3, 4), strict=True) for _ in range(count)]
    free = [*rng.sample(range(7), 2), *rng.sample(range(7), 3), *rng.sample(range(7), 4)]
    books = {
        number: {
            "title": titles[index],
            "author": authors[index],
            "year": rng.randint(1890, 2020),
            "pages": rng.randint(90, 720),
            "shelf": rng.choice(SHELVES),
            "free": free[index],
        }
        for index, number in enumerate(numbers)
    }
    members = zip(rng.sample(NAMES, 3), (2, 3, 4), strict=True)
    loans = {name: {book: rng.randint(1, 40) for book in rng.sample(numbers, count)} for name, count in members}
    fees = {shelf: [rng.randint(5, 60) / 100, float(rng.randint(4, 12))] for shelf in SHELVES}
    shuffled = {number: books[number] for number in rng.sample(numbers, len(numbers))}
    return Library(shuffled, loans, fees)


def _by(library: Library, author: str) -> list[dict[str, Any]]:
    return [library.books[number] for number in library.find_books(author)]


def _free_copies(rng: Random, library: Library) -> Question:
    number = rng.choice(list(library.books))
    return Question(
        f"How many copies of the book {number} can be borrowed now?",
        library.books[number]["free"],
        f'answer = copies_free("{number}")\nprint(answer)',
    )


def _one_fee(rng: Random, library: Library) -> Question:
    member = rng.choice(list(library.loans))
    number, days = rng.choice(list(library.loans[member].items()))
    return Question(
        f"{member} returns the book {number} today. What is the fee in euros? {TWO_DECIMALS}",
        library.late_fee(number, days),
        f'answer = late_fee("{number}", days_late("{member}", "{number}"))\nprint(answer)',
    )


def _old_and_free(rng: Random, library: Library) -> Question:
    number, year = rng.choice(list(library.books)), rng.randint(1925, 1985)
    book = library.books[number]
    return Question(
        f"Was the book {number} published before {year}, and is a copy of it free? {TRUTH}",
        book["year"] < year and book["free"] > 0,
        f'book, free = describe_book("{number}"), copies_free("{number}")\n'
        f'answer = book["year"] < {year} and free > 0\nprint(answer)',
    )


def _reservation(rng: Random, library: Library) -> Question | None:
    number, member = rng.choice(list(library.books)), rng.choice(list(library.loans))
    if not library.books[number]["free"]:
        return None
    changed = copy.deepcopy(library)
    return Question(
        f"Reserve the book {number} for {member}. What is the number of the slip?",
        changed.reserve(number, member),
        f'answer = reserve("{number}", "{member}")\nprint(answer)',
    )


def _all_fees(rng: Random, library: Library) -> Question:
    member = rng.choice(list(library.loans))
    fees = [library.late_fee(number, days) for number, days in library.loans[member].items()]
    return Question(
        f"{member} returns every borrowed book today. What are the fees in euros together? {TWO_DECIMALS}",
        round(sum(fees), 2),
        f'fees = 0.0\nfor number in loans_of("{member}"):\n'
        f'    fees += late_fee(number, days_late("{member}", number))\nanswer = round(fees, 2)\nprint(answer)',
    )


def _titles_since(rng: Random, library: Library) -> Question:
    author, year = rng.choice([book["author"] for book in library.books.values()]), rng.randint(1925, 1985)
    return Question(
        f"Which books by {author} were published in {year} or later? Answer with the list of their titles in "
        "alphabetical order.",
        sorted(book["title"] for book in _by(library, author) if book["year"] >= year),
        f'books = [describe_book(number) for number in find_books("{author}")]\n'
        f'answer = sorted(book["title"] for book in books if book["year"] >= {year})\nprint(answer)',
    )


def _most_free(rng: Random, library: Library) -> Question | None:
    author = rng.choice([book["author"] for book in library.books.values()])
    title = only_best({book["title"]: book["free"] for book in _by(library, author)})
    if title is None:
        return None
    return Question(
        f"Of which book by {author} are most copies free? Answer with its title.",
        title,
        f'free = {{number: copies_free(number) for number in find_books("{author}")}}\n'
        'answer = describe_book(max(free, key=free.get))["title"]\nprint(answer)',
    )


def _longer_author(rng: Random, library: Library) -> Question | None:
    authors = sorted({book["author"] for book in library.books.values()})
    pages = {author: sum(book["pages"] for book in _by(library, author)) for author in rng.sample(authors, 2)}
    longer, (first, second) = only_best(pages), pages
    if longer is None:
        return None
    return Question(
        f"Whose books have more pages together, those of {first} or those of {second}? Answer with the name.",
        longer,
        f'pages = {{}}\nfor author in ("{first}", "{second}"):\n'
        '    pages[author] = sum(describe_book(number)["pages"] for number in find_books(author))\n'
        "answer = max(pages, key=pages.get)\nprint(answer)",
    )


def _pages_free(rng: Random, library: Library) -> Question:
    author = rng.choice([book["author"] for book in library.books.values()])
    return Question(
        f"How many pages do all free copies of the books by {author} have together? Count every free copy.",
        sum(book["pages"] * book["free"] for book in _by(library, author)),
        f'answer = 0\nfor number in find_books("{author}"):\n'
        '    answer += describe_book(number)["pages"] * copies_free(number)\nprint(answer)',
    )


DOMAIN = Domain(
    world,
    {
        SHORT: (_free_copies, _one_fee, _old_and_free, _reservation),
        MIDDLE: (_all_fees, _titles_since, _most_free),
        LONG: (_all_fees, _longer_author, _pages_free),
    },
)
