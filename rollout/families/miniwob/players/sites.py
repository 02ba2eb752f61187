"""Players of pages that look like a site: mail, search, social media."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rollout.families.miniwob.players.clicks import asked, click
from rollout.families.miniwob.players.expert import Hand, Play, Player
from rollout.families.miniwob.players.page import Element, Page


def _search_engine(page: Page, hand: Hand) -> Play:
    wanted, position = asked(page, 'enter "(.*)" and'), int(asked(page, r"the (\d)\w\w search result")) - 1
    page = yield [hand.write(wanted, page.root.one(name="search-text")), click(page.root.one(name="search"))]
    if position >= 3:
        number = str(position // 3 + 1)
        pages = [one for one in page.root.one(name="pagination").find("a") if one.text == number]
        page = yield [click(pages[0])]
    results = page.root.find("a", css="search-title")
    right = results[position % 3]
    return [click(hand.pick(results, lambda one: one is right))]


def _posts(page: Page) -> list[Element]:
    return page.root.find(css="media")


def _by(post: Element) -> str:
    return post.one(css="username").text


def _social_media(page: Page, hand: Hand) -> Play:
    user, action = asked(page, r"user (@\S+),"), asked(page, '"(.*)"')
    post = hand.pick(_posts(page), lambda one: _by(one) == user)
    if action in ("Reply", "Retweet", "Like"):
        return [click(post.one(css=action.lower()))]
    yield [click(post.one(css="more"))]
    return [click(next(one for one in post.find("li") if one.text in (action, f"{action} {_by(post)}")))]


def _social_media_all(page: Page, hand: Hand) -> Play:
    """All posts of a user, or as many as the page asks for."""
    yield from ()
    action, user = asked(page, '"(.*)"').lower(), asked(page, r"by (@\S+)")
    posts = hand.select(_posts(page), lambda one: _by(one) == user)
    number = re.search(r"on (\d+) post", page.asks)
    chosen = posts[: int(number[1])] if number else posts
    return [*(click(one.one(css=action)) for one in chosen), click(page.root.one("button"))]


def _mails(page: Page) -> list[Element]:
    return page.root.one(name="main").find(css="email-thread")


def _email_inbox(page: Page, hand: Hand) -> Play:
    sender = asked(page, "email by (.*?) and ")
    mail = hand.pick(_mails(page), lambda one: one.one(css="email-sender").text == sender)
    if "trash" in page.asks or "star" in page.asks:
        return [click(mail.one(css="trash" if "trash" in page.asks else "star"))]
    if "reply" in page.asks:
        return (yield from _reply(mail, asked(page, '"(.*)"'), hand))
    return (yield from _forward(mail, asked(page, r"to (\w+)\.$"), hand))


def _reply(mail: Element, text: str, hand: Hand) -> Play:
    page = yield [click(mail)]
    page = yield [click(page.root.one(css="email-reply"))]
    return [hand.write(text, page.root.one("textarea")), click(page.root.one(name="send-reply"))]


def _forward(mail: Element, to: str, hand: Hand) -> Play:
    page = yield [click(mail)]
    page = yield [click(page.root.one(css="email-forward"))]
    return [hand.write(to, page.root.one("input", css="forward-sender")), click(page.root.one(name="send-forward"))]


_SENT = r"(?:\b(?:by|from|that|mail|Ask) {0}\b|\b{0}'s\b|\b{0} (?:sent|wrote|wants his|last|latest|e-?mail|message))"
"""How requests in free words name the sender of a mail."""


def _forward_in_words(page: Page, hand: Hand) -> Play:
    """A request in free words, which names two senders: whose mail it is, and who shall get it."""
    mails = _mails(page)
    named = [name for name in _senders(mails) if re.search(rf"\b{name}\b", page.asks)]
    sender = next((one for one in named if re.search(_SENT.format(one), page.asks)), named[0])
    to = next((one for one in named if one != sender), sender)
    mail = hand.pick(mails, lambda one: one.one(css="email-sender").text == sender)
    return (yield from _forward(mail, to, hand))


def _senders(mails: Sequence[Element]) -> list[str]:
    return list(dict.fromkeys(one.one(css="email-sender").text for one in mails))


PLAYERS: dict[str, Player] = {
    "email-inbox": _email_inbox,
    "email-inbox-forward-nl": _forward_in_words,
    "email-inbox-forward-nl-turk": _forward_in_words,
    "search-engine": _search_engine,
    "social-media": _social_media,
    "social-media-all": _social_media_all,
    "social-media-some": _social_media_all,
}
