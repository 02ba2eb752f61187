"""Players of pages with fields, boxes and lists."""

from __future__ import annotations

import re

from rollout.families.calling_expert import Call
from rollout.families.miniwob.players.clicks import asked, click, named
from rollout.families.miniwob.players.expert import Hand, Play, Player
from rollout.families.miniwob.players.page import Page

_FROM_LIST = r"Select (.*) from the (?:scroll )?list"


def _choose_list(page: Page, hand: Hand) -> Play:
    yield from ()
    listed = page.root.one("select")
    option = hand.pick(listed.find("option"), named(asked(page, _FROM_LIST)))
    return [Call("choose", (listed.ref, option.text)), click(page.root.one("button"))]


def _click_scroll_list(page: Page, hand: Hand) -> Play:
    yield from ()
    wanted, listed = asked(page, _FROM_LIST), page.root.one("select")
    chosen = hand.select(listed.find("option"), lambda one: one.text in wanted.split(", "))
    calls = [Call("choose", (listed.ref, one.text)) for one in chosen]
    return [*calls, click(page.root.one("button"))]


def _click_checkboxes(page: Page, hand: Hand) -> Play:
    yield from ()
    wanted = asked(page, r"Select (.*) and click Submit").split(", ")
    boxes = hand.select(page.root.find("label"), lambda one: one.text in wanted, needed=wanted != ["nothing"])
    return [*(click(one.one("input")) for one in boxes), click(page.root.one("button"))]


def _click_option(page: Page, hand: Hand) -> Play:
    yield from ()
    chosen = hand.pick(page.root.find("label"), named(asked(page, r"Select (.*) and click Submit")))
    return [click(chosen.one("input")), click(page.root.one("button"))]


def _enter_text(page: Page, hand: Hand) -> Play:
    yield from ()
    return [hand.write(asked(page, '"(.*)"'), page.root.one("input")), click(page.root.one("button"))]


def _enter_password(page: Page, hand: Hand) -> Play:
    yield from ()
    password = asked(page, '"(.*)"')
    return [*(hand.write(password, one) for one in page.root.find("input")), click(page.root.one("button"))]


def _login_user(page: Page, hand: Hand) -> Play:
    yield from ()
    name, password = re.findall('"(.*?)"', page.asks)
    calls = [hand.write(name, page.root.one(name="username")), hand.write(password, page.root.one(name="password"))]
    return [*calls, click(page.root.one("button"))]


def _enter_date(page: Page, hand: Hand) -> Play:
    yield from ()
    return [hand.write(asked(page, r"Enter ([\d/]+)"), page.root.one("input")), click(page.root.one("button"))]


def _enter_time(page: Page, hand: Hand) -> Play:
    yield from ()
    hours, minutes, half = re.findall(r"(\d+):(\d+) ?([AP]M)", page.asks)[0]
    return [hand.write(f"{int(hours):02}{minutes}{half}", page.root.one("input")), click(page.root.one("button"))]


def _simple_algebra(page: Page, hand: Hand) -> Play:
    yield from ()
    left, sign, right, total = re.findall(r"(\S+) ([+-]) (\S+) = (-?\d+)", page.root.one(name="math-problem").text)[0]
    if sign == "+":
        x = int(total) - int(right if left == "x" else left)
    else:
        x = int(total) + int(right) if left == "x" else int(left) - int(total)
    return [hand.write(str(x), page.root.one("input")), click(page.root.one("button"))]


def _use_spinner(page: Page, hand: Hand) -> Play:
    yield from ()
    number = int(asked(page, r"Select (-?\d+)"))
    up = hand.pick(page.root.find("a"), lambda one: one.has_class("ui-spinner-up") == (number > 0))
    return [*[click(up)] * abs(number), click(page.root.one("button"))]


def _terminal(page: Page, hand: Hand) -> Play:
    """Deletes a file that `ls` shows."""
    end = re.search(r"extension (\.\S+)", page.asks)
    page = yield [click(page.root.one(name="terminal")), hand.write("ls\n")]
    files = page.root.find("span", css="output")[-1].text.split()
    if hand.wrong == "blank":
        return [hand.write("")]
    of_kind = [one for one in files if (one.endswith(end[1]) if end else "." not in one)]
    others = [one for one in files if one not in of_kind]
    hand.strayed |= hand.wrong == "other" and bool(others)
    chosen = others if hand.wrong == "other" else of_kind
    return [hand.write(f"rm {chosen[0]}\n")] if chosen else []


PLAYERS: dict[str, Player] = {
    "choose-list": _choose_list,
    "click-checkboxes": _click_checkboxes,
    "click-checkboxes-large": _click_checkboxes,
    "click-checkboxes-transfer": _click_checkboxes,
    "click-option": _click_option,
    "click-scroll-list": _click_scroll_list,
    "enter-date": _enter_date,
    "enter-password": _enter_password,
    "enter-text": _enter_text,
    "enter-text-dynamic": _enter_text,
    "enter-time": _enter_time,
    "login-user": _login_user,
    "simple-algebra": _simple_algebra,
    "terminal": _terminal,
    "use-spinner": _use_spinner,
}
