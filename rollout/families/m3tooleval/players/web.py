"""Plays ``web_browsing``: finds pages of people and products by the links of the site."""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from typing import Any

from rollout.families.calling_expert import Call, Player

_LINK = re.compile(r"\[Clickable '([^']+)'\]")
_PRICE = re.compile(r"\$(\d+\.\d+)")
_ITEMS = re.compile(r"total price of \[([^\]]+)\]")
_DISCOUNT = re.compile(r"(\d+)% off")
_FACTS = {
    "email": r"Email: (\S+)",
    "phone number": r"Phone: (.+)",
    "expertise": r"Expertise: (.+)",
    "department": r" of (.+) Department",
}
_NOT_FOUND = "[URL not found.]"

Browsing = Generator[Sequence[Call], list[Any], Any]


def browse(prompt: str) -> Player:
    """Reads which of the domain's questions it is."""
    if items := _ITEMS.search(prompt):
        return (yield from _total(items[1].split(", "), _DISCOUNT.search(prompt)))
    if asked := re.search(r"price of (.+)\.", prompt):
        (price,) = yield from _prices([asked[1]])
        return str(price)
    if asked := re.search(r"in the (.+) Department\?", prompt):
        return (yield from _count_people(asked[1]))
    if asked := re.search(r"phone number is (\S+)\?", prompt):
        return (yield from _whose_number(asked[1]))
    asked = re.search(r"Find the (.+) of (.+)\.", prompt)
    if asked is None:
        raise LookupError("the task has none of the forms that this player knows")
    page = yield from _person(_address(asked[2]))
    found = re.search(_FACTS[asked[1]], page)
    return found[1] if found else ""


def _address(name: str) -> str:
    """The last part of the address of a page about this."""
    return name.lower().replace(" ", "_")


def _links(page: str) -> list[str]:
    return _LINK.findall(page)


def _total(items: Sequence[str], discount: re.Match[str] | None) -> Browsing:
    prices = yield from _prices(items)
    expression = f"({' + '.join(prices)})" + (f" * (1 - {discount[1]} / 100)" if discount else "")
    (total,) = yield [Call("calculator", (expression,))]
    return f"{total:.2f}"


def _prices(items: Sequence[str]) -> Browsing:
    """The price of each item, whose page lies below that of its kind."""
    (products,) = yield [Call("click_url", ("/products",))]
    names = [_address(item) for item in items]
    kinds = [_kind(name, products) for name in names]
    pages = yield [Call("click_url", (f"{kind}/{name}",)) for kind, name in zip(kinds, names, strict=True)]
    return [_PRICE.findall(page)[-1] for page in pages]


def _kind(name: str, products: str) -> str:
    return next((link for link in _links(products) if name.endswith(link.rpartition("/")[2])), "")


def _teams() -> Browsing:
    (page,) = yield [Call("click_url", ("/team",))]
    return _links(page)


def _people(team: str) -> Browsing:
    """Addresses of the people of a team. Where the link of the team leads nowhere, '-' stands for '_' in its page."""
    (page,) = yield [Call("click_url", (team,))]
    if page == _NOT_FOUND:
        (page,) = yield [Call("click_url", (team.replace("_", "-"),))]
    people = _links(page)
    views = re.search(r"Viewing page 1 of (\d+)", page)
    for _ in range(int(views[1]) - 1 if views else 0):
        (page,) = yield [Call("scroll_down")]
        people += _links(page)
    return people


def _person(name: str) -> Browsing:
    """The page of a person."""
    for team in (yield from _teams()):
        for person in (yield from _people(team)):
            if person.endswith(f"/{name}"):
                (page,) = yield [Call("click_url", (person,))]
                return page
    raise LookupError(f"no team has {name}")


def _count_people(department: str) -> Browsing:
    for team in (yield from _teams()):
        if team.endswith(f"/{_address(department)}"):
            return str(len((yield from _people(team))))
    raise LookupError(f"there is no team {department}")


def _whose_number(number: str) -> Browsing:
    """Looks from the last person of the last team, since the turns do not suffice for everyone."""
    for team in reversed((yield from _teams())):
        for person in reversed((yield from _people(team))):
            (page,) = yield [Call("click_url", (person,))]
            if f"Phone: {number}" in page:
                return page.partition("\n\n")[2].partition(" of ")[0]
    raise LookupError(f"no one has the number {number}")
