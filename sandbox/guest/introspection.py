"""Notebook requests other than cells: completion, inspection, history and comm info.

Contract: answers from the live namespace, with IPython's own completer and inspector; requests do not count as cells.
If an object raises an exception or loops (in ``__dir__``, say), the reply is an error, after an interrupt if needed.
Completion uses the live objects only and not Jedi's analysis of the text: milliseconds instead of seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

from IPython.core.completer import Completion, provisionalcompleter, rectify_completions
from IPython.utils.tokenutil import token_at_cursor

from sandbox.guest.connection import SocketTransport
from sandbox.guest.shell import SandboxShell

KEEP = 1000
"""The most completions in one reply."""


class Introspection:
    """Mixin of the kernel: requests about its namespace."""

    transport: SocketTransport
    shell: SandboxShell

    def _on_complete_request(self, content: dict[str, Any]) -> dict[str, Any]:
        code = content["code"]
        at = _cursor(content)

        def complete() -> dict[str, Any]:
            with provisionalcompleter():
                found = list(rectify_completions(code, self.shell.Completer.completions(code, at)))[:KEEP]
            items = [_completion_item(completion, code) for completion in found]
            return {
                "matches": [item["text"] for item in items],
                "cursor_start": items[0]["start"] if items else at,
                "cursor_end": items[0]["end"] if items else at,
                "metadata": {"_jupyter_types_experimental": items},
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
        """History of this kernel only, never of other sessions."""
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
            rows: list[Any] = [(0, number, (code, history.output_hist_reprs.get(number))) for number, code in cells]
        else:
            rows = [(0, number, code) for number, code in cells]
        return {"status": "ok", "history": rows}

    def _on_comm_info_request(self, content: dict[str, Any]) -> dict[str, Any]:
        """There are no widgets."""
        return {"status": "ok", "comms": {}}

    def _answer(self, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        shield = self.transport.shield
        shield.pending = False
        try:
            shield.running = True
            found = work()
            shield.running = False
            return {"status": "ok", **found}
        except BaseException as error:  # raised by an object's method, or an interrupt
            return {"status": "error", "ename": type(error).__name__, "evalue": str(error)[:1000], "traceback": []}
        finally:
            shield.running = False


def _cursor(content: dict[str, Any]) -> int:
    at = content.get("cursor_pos")
    return len(content["code"]) if at is None else at


def _completion_item(found: Completion, code: str) -> dict[str, Any]:
    """One completion, without the dot that IPython puts before an attribute."""
    dot = int(found.text.startswith(".") and code[found.start : found.start + 1] == ".")
    where = {"start": found.start + dot, "end": found.end}
    return {**where, "text": found.text[dot:], "type": found.type, "signature": found.signature}
