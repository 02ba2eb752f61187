"""Players of pages on which something is clicked."""

from __future__ import annotations

import re
from collections.abc import Callable

from rollout.families.calling_expert import Call
from rollout.families.miniwob.players.expert import Hand, Play, Player
from rollout.families.miniwob.players.page import Element, Page


def click(element: Element) -> Call:
    """Clicks an element."""
    return Call("click", (element.ref,))


def hover(element: Element) -> Call:
    """Moves the mouse over an element."""
    return Call("hover", (element.ref,))


def asked(page: Page, pattern: str) -> str:
    """What the pattern's group finds in what the page asks for. Raises LookupError."""
    found = re.search(pattern, page.asks)
    if found is None:
        raise LookupError(f"the page does not ask as usual: {page.asks}")
    return found[1]


def named(text: str) -> Callable[[Element], bool]:
    """Whether an element has this text."""
    return lambda element: element.text == text


def _click_button(page: Page, hand: Hand) -> Play:
    yield from ()
    wanted = asked(page, '"(.*)"')
    return [click(hand.pick(page.root.find("button"), named(wanted)))]


def _click_test(page: Page, hand: Hand) -> Play:
    yield from ()
    return [click(page.root.one("button"))]


def _click_test_2(page: Page, hand: Hand) -> Play:
    yield from ()
    return [click(hand.pick(page.root.find("button"), named("ONE")))]


def _click_button_sequence(page: Page, hand: Hand) -> Play:
    yield from ()
    first = hand.pick(page.root.find("button"), named("ONE"))
    second = next(one for one in page.root.find("button") if one is not first)
    return [click(first), click(second)]


def _click_color(page: Page, hand: Hand) -> Play:
    yield from ()
    wanted = asked(page, r"Click on the (\w+) colored box")
    return [click(hand.pick(page.root.find(css="color"), lambda one: one.get("data-color") == wanted))]


def _click_dialog(page: Page, hand: Hand) -> Play:
    yield from ()
    return [click(page.root.one("button", css="ui-dialog-titlebar-close"))]


def _click_dialog_2(page: Page, hand: Hand) -> Play:
    yield from ()
    wanted = {"x": "Close"}.get(label := asked(page, '"(.*)"'), label)
    return [click(hand.pick(page.root.find("button"), named(wanted)))]


def _click_link(page: Page, hand: Hand) -> Play:
    yield from ()
    return [click(_link(page, hand))]


def _link(page: Page, hand: Hand) -> Element:
    return hand.pick(page.root.find("span", css="alink"), named(asked(page, '"(.*)"')))


def _click_tab(page: Page, hand: Hand) -> Play:
    yield from ()
    return [click(hand.pick(page.root.find("a"), named(asked(page, r"Click on (Tab #\d+)"))))]


def _click_tab_2(page: Page, hand: Hand) -> Play:
    link = _link(page, hand)
    if not link.shown:
        panel = next(one.get("id") for one in link.within if one.get("id").startswith("tabs-"))
        yield [click(next(one for one in page.root.find("a") if one.get("href") == f"#{panel}"))]
    return [click(link)]


def _click_collapsible(page: Page, hand: Hand) -> Play:
    yield [click(page.root.one("h3"))]
    return [click(page.root.one("button"))]


def _click_collapsible_2(page: Page, hand: Hand) -> Play:
    link = _link(page, hand)
    section = next(one for one in link.within if one.has_class("ui-accordion-content"))
    yield [click(_heading(section))]
    return [click(link)]


def _heading(section: Element) -> Element:
    """The heading before a section of an accordion."""
    assert section.parent is not None
    among = section.parent.children
    return among[among.index(section) - 1]


def _click_menu(page: Page, hand: Hand) -> Play:
    *way, last = asked(page, "Select (.*)").split(">")
    for name in way:
        yield [hover(next(one for one in page.root.find("div") if one.text == name))]
    leaves = [
        one for one in page.root.find("div") if one.parent and one.parent.tag == "li" and not one.parent.find("ul")
    ]
    if not way:  # a wrong item must be one that is in sight
        leaves = [one for one in leaves if one.shown]
    return [click(hand.pick(leaves, named(last)))]


def _click_widget(page: Page, hand: Hand) -> Play:
    yield from ()
    wanted = asked(page, '"(.*)" widget')
    widgets = [one for tag in ("input", "textarea", "button") for one in page.root.find(tag) if one.get("data-type")]
    return [click(hand.pick(widgets, lambda one: one.get("data-type") == wanted))]


def _click_shades(page: Page, hand: Hand) -> Play:
    yield from ()
    wanted = asked(page, r"shades of (\w+)")
    chosen = hand.select(page.root.find("span"), lambda one: one.get("data-color") == wanted)
    return [*map(click, chosen), click(page.root.one("button"))]


def _focus_text(page: Page, hand: Hand) -> Play:
    yield from ()
    return [click(page.root.one("input"))]


def _focus_text_2(page: Page, hand: Hand) -> Play:
    yield from ()
    fields = page.root.find("input")
    wanted = fields[int(asked(page, r"the (\d)")) - 1]
    return [click(hand.pick(fields, lambda one: one is wanted))]


def _grid_coordinate(page: Page, hand: Hand) -> Play:
    yield from ()
    wanted = asked(page, r"(\(-?\d,-?\d\))")
    return [click(hand.pick(page.root.find("circle"), lambda one: one.get("id") == wanted))]


def _navigate_tree(page: Page, hand: Hand) -> Play:
    wanted = asked(page, 'named "(.*)"')
    names = [one for one in page.root.find("span") if one.has_class("folder") or one.has_class("file")]

    def is_wanted(one: Element) -> bool:
        return any(name.text == wanted for name in (one, *_folders(one)))

    target = hand.pick(names, is_wanted)
    for folder in reversed(_folders(target)):
        if folder.text == wanted:
            return [click(folder)]
        yield [click(folder)]
    return [click(target)]


def _folders(name: Element) -> list[Element]:
    """The names of the folders that an item is in, the nearest first."""
    items = [one for one in name.within if one.tag == "li"][1:]
    return [next(child for child in item.children if child.tag == "span") for item in items]


_DESCRIBED = re.compile(
    r"(?:(?P<size>large|small) )?(?:(?P<color>red|green|blue|aqua|black|magenta|yellow) )?(?P<what>\S+)$"
)
_SHAPES = {"rect": "rectangle", "circle": "circle", "polygon": "triangle"}


def _matches(description: str) -> Callable[[Element], bool]:
    """Whether a drawn shape, letter or digit fits a description such as ``large red item``."""
    found = _DESCRIBED.match(description)
    if found is None:
        raise LookupError(f"no shape is described by {description!r}")
    size, color, what = found["size"], found["color"], found["what"]

    def fits(one: Element) -> bool:
        text = one.text
        kind = "shape" if one.tag in _SHAPES else "digit" if text.isdigit() else "letter"
        named_so = what in ("item", kind, text if one.tag == "text" else _SHAPES[one.tag])
        return named_so and color in (None, one.get("fill")) and size in (None, _size(one))

    return fits


def _size(one: Element) -> str:
    if one.tag == "text":
        extent = float(one.get("font-size").removesuffix("px"))
    elif one.tag == "circle":
        extent = 2 * float(one.get("r"))
    elif one.tag == "rect":
        extent = float(one.get("width"))
    else:
        across = [float(point.split(",")[0]) for point in one.get("points").split()]
        extent = max(across) - min(across)
    return "large" if extent > 15 else "small"


def _drawn(page: Page) -> list[Element]:
    return [one for one in page.root.one("svg").children if one.tag in (*_SHAPES, "text")]


def _click_shape(page: Page, hand: Hand) -> Play:
    yield from ()
    return [click(hand.pick(_drawn(page), _matches(asked(page, "Click on a (.*)"))))]


def _count_shape(page: Page, hand: Hand) -> Play:
    yield from ()
    fits = _matches(asked(page, r"How many (.*)s are there"))
    number = sum(map(fits, _drawn(page)))
    return [click(hand.pick(page.root.find("button"), named(str(number))))]


PLAYERS: dict[str, Player] = {
    "click-button": _click_button,
    "click-button-sequence": _click_button_sequence,
    "click-collapsible": _click_collapsible,
    "click-collapsible-2": _click_collapsible_2,
    "click-color": _click_color,
    "click-dialog": _click_dialog,
    "click-dialog-2": _click_dialog_2,
    "click-link": _click_link,
    "click-menu": _click_menu,
    "click-shades": _click_shades,
    "click-shape": _click_shape,
    "click-tab": _click_tab,
    "click-tab-2": _click_tab_2,
    "click-tab-2-hard": _click_tab_2,
    "click-test": _click_test,
    "click-test-2": _click_test_2,
    "click-widget": _click_widget,
    "count-shape": _count_shape,
    "focus-text": _focus_text,
    "focus-text-2": _focus_text_2,
    "grid-coordinate": _grid_coordinate,
    "navigate-tree": _navigate_tree,
}
