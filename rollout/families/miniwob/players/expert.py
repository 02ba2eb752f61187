"""Plays a page in the form of a protocol, rightly or in one of three wrong ways.

Contract: a :data:`Player` is sent the page after each group of calls, and returns the last group, which ends the task.
Where actions are code a group is one cell; else each call is a turn. The wrong ways never solve a task: ``stops``
leaves out the last call, ``blank`` types nothing, ``other`` takes elements that are not asked for. An expert that has
played and has not ended the task proposes an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rollout.families.base import Demonstration
from rollout.families.calling_expert import Call, answer_turn, call_turn, cell_turn
from rollout.families.miniwob.players.page import Element, Page

Wrong = Literal["stops", "blank", "other"]
WRONG: tuple[Wrong, ...] = ("stops", "blank", "other")
Play = Generator[list[Call], Page, list[Call]]
"""Yields calls, is sent the page that they lead to, and returns the calls that end the task."""
_CODE, _CALLS = ("tags", "chat", "fenced", "action_code"), ("action_json", "action_text")


class GiveUp(Exception):
    """There is nothing to do in this wrong way."""


@dataclass
class Hand:
    """Makes the choices of a player, in its wrong way where it has one."""

    wrong: Wrong | None = None
    strayed: bool = field(default=False, init=False)
    """Whether a choice has been wrong."""

    def pick(self, among: Iterable[Element], asked: Callable[[Element], bool]) -> Element:
        """The first element that is asked for. Raises LookupError when there is none."""
        return self.select(among, asked)[0]

    def select(self, among: Iterable[Element], asked: Callable[[Element], bool], needed: bool = True) -> list[Element]:
        """The elements that are asked for. Raises LookupError when there are none and one is ``needed``."""
        other = self.wrong == "other"
        self.strayed |= other
        found = [one for one in among if asked(one) != other]
        if not found and other:
            raise GiveUp
        if not found and needed:
            raise LookupError("no element is the one that is asked for")
        return found

    def write(self, text: str, element: Element | None = None) -> Call:
        """Types."""
        if self.wrong == "blank":
            self.strayed, text = True, ""
        return Call("type_text", (text, element.ref) if element else (text,))


Player = Callable[[Page, Hand], Play]


@dataclass(frozen=True)
class PageExpert:
    """The expert of a page; a picklable value."""

    player: Player
    wrong: Wrong | None = None

    def __call__(self, make_mistake: bool) -> Demonstration:
        """The demonstration in tags; it makes no mistakes."""
        return self._demonstrate("tags")

    def in_form(self, form: str) -> Callable[[bool], Demonstration] | None:
        """The expert under a protocol of another form; None for native calls and forms without actions."""
        if form not in (*_CODE, *_CALLS):
            return None

        def demonstrate(make_mistake: bool) -> Demonstration:
            return self._demonstrate(form)

        return demonstrate

    def wrong_experts(self) -> list[PageExpert]:
        """Experts that play wrongly; none of them may solve a task."""
        return [PageExpert(self.player, wrong) for wrong in WRONG]

    def _demonstrate(self, form: str) -> Demonstration:
        hand = Hand(self.wrong)
        page = Page((yield from _acted(form, [Call("look")])))
        playing = self.player(page, hand)
        last: list[Call] = []
        try:
            calls = next(playing)
            while True:
                calls = playing.send(Page((yield from _acted(form, calls))))
        except StopIteration as ended:
            last = ended.value
        except GiveUp:
            pass
        if self.wrong is not None and (self.wrong == "stops" or not hand.strayed):
            last = last[:-1]
        if last:
            yield from _acted(form, last)
        while True:
            yield answer_turn(form, "I have done what the page asks for.")


def _acted(form: str, calls: Sequence[Call]) -> Generator[str, str, str]:
    """The turns of a group of calls. Returns the last reply."""
    if form in _CODE:
        lines = [f"{call.tool}({', '.join(map(repr, call.args))})" for call in calls]
        return (yield cell_turn(form, "\n".join([*lines[:-1], f"print({lines[-1]})"])))
    reply = ""
    for call in calls:
        reply = yield call_turn(form, call)
    return reply
