"""Pages of Wikipedia, through its public API.

Contract: one request a search (``action=query`` with the generator ``search`` and the extension ``extracts``). Busy
servers and broken connections are tried again with growing waits, as ``Retry-After`` asks; after :data:`ATTEMPTS`
attempts the source is unavailable. A process has one connection pool with at most :data:`CONNECTIONS` connections.
Results change with Wikipedia: the digest of a task names the address, not the pages.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import httpx2

from rollout.families.search.toolset import Page, SourceUnavailableError
from sandbox import __version__

ADDRESS = "https://en.wikipedia.org/w/api.php"
AGENT = f"codeact/{__version__} (task family hotpotqa; httpx2/{httpx2.__version__})"
"""Wikimedia asks clients to name themselves."""
CONNECTIONS, ATTEMPTS = 4, 4
TIMEOUT_S, LONGEST_WAIT_S = 10.0, 10.0
MAX_BYTES = 1 << 20
"""Longest reply that is read."""
_AGAIN = {408, 425, 429, 500, 502, 503, 504}
_SPARE = 3
"""Pages asked for beyond those wanted: pages that only list other pages are left out."""


@dataclass(frozen=True)
class WikipediaSource:
    """The API at ``address``. ``wait_s`` is the first wait between attempts; it doubles."""

    address: str = ADDRESS
    wait_s: float = 0.5

    def find(self, query: str, count: int) -> list[Page]:
        """The first paragraphs of the best pages, without those that only list meanings of a title.

        Raises:
            SourceUnavailableError: the API does not answer.
        """
        reply = self._ask(
            {
                "action": "query",
                "format": "json",
                "formatversion": "2",
                "redirects": "1",
                "generator": "search",
                "gsrsearch": query,
                "gsrlimit": str(count + _SPARE),
                "prop": "extracts|pageprops",
                "ppprop": "disambiguation",
                "exintro": "1",
                "explaintext": "1",
                "exlimit": "max",
            }
        )
        pages = (reply.get("query") or {}).get("pages") or []
        ranked = sorted(pages, key=lambda page: page.get("index", len(pages)))
        kept = [page for page in ranked if page.get("extract") and "disambiguation" not in page.get("pageprops", {})]
        return [Page(str(page["title"]), str(page["extract"]).strip()) for page in kept[:count]]

    def describe(self) -> Any:
        """The address."""
        return ["wikipedia", self.address]

    def _ask(self, parameters: dict[str, str]) -> dict[str, Any]:
        wait_s, fault = self.wait_s, ""
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(min(wait_s, LONGEST_WAIT_S))
            try:
                status, headers, body = _get(self.address, parameters)
            except httpx2.HTTPError as error:
                fault, wait_s = f"{type(error).__name__}: {error}", wait_s * 2
                continue
            fault, asked = _fault(status, body)
            if not fault:
                reply: dict[str, Any] = json.loads(body)
                return reply
            if not asked and status not in _AGAIN:
                break
            wait_s = _seconds(headers.get("Retry-After")) or wait_s * 2
        raise SourceUnavailableError(f"{self.address} does not answer: {fault}")


def _fault(status: int, body: bytes) -> tuple[str, bool]:
    """What is wrong with a reply, empty when nothing is; and whether the API asks for another attempt."""
    if status != 200:
        return f"HTTP status {status}", False
    try:
        reply = json.loads(body)
        error = reply.get("error") or {}
    except (ValueError, AttributeError):
        return f"no JSON object but {body[:60]!r}", True
    code = error.get("code") if isinstance(error, dict) else str(error)
    return (f"error {code}", code in ("maxlag", "ratelimited", "readonly")) if error else ("", False)


def _seconds(value: str | None) -> float:
    """The seconds of a ``Retry-After``; 0 when there are none (a date is not read)."""
    try:
        return max(float(value or 0), 0.0)
    except ValueError:
        return 0.0


def _get(address: str, parameters: dict[str, str]) -> tuple[int, httpx2.Headers, bytes]:
    with _client().stream("GET", address, params=parameters) as reply:
        body = bytearray()
        for chunk in reply.iter_bytes():
            body += chunk
            if len(body) > MAX_BYTES:
                raise httpx2.DecodingError(f"a reply of more than {MAX_BYTES} bytes", request=reply.request)
        return reply.status_code, reply.headers, bytes(body)


@lru_cache(maxsize=1)
def _client() -> httpx2.Client:
    limits = httpx2.Limits(max_connections=CONNECTIONS)
    timeout = httpx2.Timeout(TIMEOUT_S, pool=None)  # waiting for a free connection is no fault of the server
    return httpx2.Client(headers={"User-Agent": AGENT}, timeout=timeout, limits=limits, follow_redirects=True)
