"""A page as :meth:`WebPage.look` shows it, read back into elements."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

EMPTY = ("input", "img")


@dataclass(eq=False)
class Element:
    """An element of the page."""

    tag: str
    attributes: dict[str, str | None]
    parent: Element | None = None
    children: list[Element] = field(default_factory=list)
    own_text: str = ""

    @property
    def ref(self) -> int:
        """What functions name it by."""
        return int(self.attributes["ref"] or 0)

    @property
    def text(self) -> str:
        """All text in it, in its order."""
        return " ".join(self.own_text.split())

    def get(self, name: str) -> str:
        """An attribute; empty when it has none of this name."""
        return self.attributes.get(name) or ""

    def has_class(self, name: str) -> bool:
        """Whether the attribute ``class`` has this name."""
        return name in self.get("class").split()

    @property
    def within(self) -> Iterator[Element]:
        """Its ancestors, the nearest first."""
        above = self.parent
        while above is not None and above.tag:
            yield above
            above = above.parent

    @property
    def shown(self) -> bool:
        """Whether neither it nor an ancestor is hidden."""
        return not any("hidden" in one.attributes for one in (self, *self.within))

    def find(self, tag: str = "", css: str = "", name: str = "") -> list[Element]:
        """The elements in it, in their order, with this tag, this class and this id, where they are given."""
        found = []
        for child in self.children:
            if tag in ("", child.tag) and name in ("", child.get("id")) and (not css or child.has_class(css)):
                found.append(child)
            found += child.find(tag, css, name)
        return found

    def one(self, tag: str = "", css: str = "", name: str = "") -> Element:
        """The first of :meth:`find`. Raises LookupError when there is none."""
        found = self.find(tag, css, name)
        if not found:
            raise LookupError(f"the page has no element {tag or css or name}")
        return found[0]


class Page(HTMLParser):
    """What a page asks for, and its elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.asks, _, html = text.partition("\n")
        self.root = self._open = Element("", {})
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, dict(attrs), self._open)
        self._open.children.append(element)
        if tag not in EMPTY:
            self._open = element

    def handle_endtag(self, tag: str) -> None:
        if tag not in EMPTY and self._open.parent is not None:
            self._open = self._open.parent

    def handle_data(self, data: str) -> None:
        for element in (self._open, *self._open.within):
            element.own_text += data
