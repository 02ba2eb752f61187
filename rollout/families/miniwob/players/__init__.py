"""Scripted players of the pages: they read what :meth:`WebPage.look` shows, and nothing else."""

from __future__ import annotations

from rollout.families.miniwob.players import clicks, forms, sites
from rollout.families.miniwob.players.expert import PageExpert, Player

__all__ = ["PLAYERS", "PageExpert", "expert_for"]

PLAYERS: dict[str, Player] = {**clicks.PLAYERS, **forms.PLAYERS, **sites.PLAYERS}
"""Page → its player. Two pages have none: `click-checkboxes-soft` asks for words of the same meaning, and
`email-inbox-nl-turk` asks for all kinds of things in free words."""


def expert_for(page: str) -> PageExpert | None:
    """The expert of a page; None for pages that no player knows."""
    return PageExpert(PLAYERS[page]) if page in PLAYERS else None
