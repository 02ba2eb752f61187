"""What a notebook asks a kernel beside cells: completion, inspection, history, and which widgets are open.

Contract: answers from the live namespace, with IPython's own completer and inspector; nothing of it is counted as a
cell. A question that an object answers with an exception or never (a ``__dir__`` that loops) ends as an error reply, at
an interrupt where it must. Completion takes the live objects only, not Jedi's analysis of the text: milliseconds
instead of seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

from IPython.core.completer import Completion, provisionalcompleter, rectify_completions
from IPython.utils.tokenutil import token_at_cursor

from sandbox.guest.connection import SocketPort
from sandbox.guest.shell import SandboxShell

KEEP = 1000
"""Completions of one reply; nobody reads more."""


class Introspection:
    """The part of the kernel that answers questions about its namespace."""

    port: SocketPort
    shell: SandboxShell

    def _on_complete_request(self, content: dict[str, Any]) -> dict[str, Any]:
        code = content["code"]
        at = _cursor(content)

        def complete() -> dict[str, Any]:
            with provisionalcompleter():
                found = list(rectify_completions(code, self.shell.Completer.completions(code, at)))[:KEEP]
            kinds = [_told(completion, code) for completion in found]
            return {
                "matches": [kind["text"] for kind in kinds],
                "cursor_start": kinds[0]["start"] if kinds else at,
                "cursor_end": kinds[0]["end"] if kinds else at,
                "metadata": {"_jupyter_types_experimental": kinds},
            }

        return self._answer(complete)

    def _on_inspect_request(self, content: dict[str, Any]) -> dict[str, Any]:
        name = token_at_cursor(content["code"], _cursor(content))

        def inspect() -> dict[str, Any]:
            try:
                data = self.shell.object_inspect_mime(name, detail_level=content.get("detail_level", 0))
                data.pop("text/html", None)  # for a pager that no client asks for
            except KeyError:
                return {"found": False, "data": {}, "metadata": {}}
            return {"found": True, "data": data, "metadata": {}}

        return self._answer(inspect)

    def _on_history_request(self, content: dict[str, Any]) -> dict[str, Any]:
        """Of this kernel only: other sessions may not be known here."""
        history: Any = self.shell.history_manager
        cells = list(enumerate(history.input_hist_raw))[1:]
        kind, newest = content.get("hist_access_type"), content.get("n")
        if kind == "range":
            first, end = content.get("start") or 1, content.get("stop") or len(cells) + 1
            cells = [(number, code) for number, code in cells if first <= number < end]
        elif kind == "search":
            cells = [(number, code) for number, code in cells if fnmatchcase(code, content.get("pattern") or "*")]
        cells = cells[-newest:] if newest else cells
        if content.get("output"):
            told: list[Any] = [(0, number, (code, history.output_hist_reprs.get(number))) for number, code in cells]
        else:
            told = [(0, number, code) for number, code in cells]
        return {"status": "ok", "history": told}

    def _on_comm_info_request(self, content: dict[str, Any]) -> dict[str, Any]:
        """There are no widgets."""
        return {"status": "ok", "comms": {}}

    def _answer(self, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        shield = self.port.shield
        shield.pending = False
        try:
            shield.running = True
            found = work()
            shield.running = False
            return {"status": "ok", **found}
        except BaseException as error:  # of an object that is asked, or an interrupt
            return {"status": "error", "ename": type(error).__name__, "evalue": str(error)[:1000], "traceback": []}
        finally:
            shield.running = False


def _cursor(content: dict[str, Any]) -> int:
    at = content.get("cursor_pos")
    return len(content["code"]) if at is None else at


def _told(found: Completion, code: str) -> dict[str, Any]:
    """One completion. Of an attribute IPython gives the dot before it, too, which nobody wants to read in a menu."""
    dot = int(found.text.startswith(".") and code[found.start : found.start + 1] == ".")
    where = {"start": found.start + dot, "end": found.end}
    return {**where, "text": found.text[dot:], "type": found.type, "signature": found.signature}
