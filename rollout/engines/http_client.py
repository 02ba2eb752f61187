"""The HTTP client below the ``openai`` package: bodies of bounded size, and redirects that keep the request.

Contract: a response is read whole, decoded, and at most :data:`MAX_BODY_BYTES` long; a longer one is a
``httpx2.ReadError``, which ``openai`` retries like a lost connection. Only the redirects 307 and 308 are followed: the
others turn a POST into a GET, whose answer is never a completion. A header with a key is not sent to another host.

Does not do: retries. ``openai`` honours ``Retry-After`` up to two minutes and else waits 0.5 s to 8 s with jitter.
"""

from __future__ import annotations

from typing import Any

import httpx2
import openai

MAX_BODY_BYTES = 32 * 2**20
"""Far above any completion with its token ids and log-probabilities."""
CONNECT_S = 15.0
"""An address that no machine answers is found out after this time, not after that of a whole completion."""
_MAX_REDIRECTS = 5


class BoundedClient(httpx2.AsyncClient):
    """Args: as :class:`httpx2.AsyncClient`; the limits of connections are those of ``openai``."""

    def __init__(self, **settings: Any) -> None:
        settings.setdefault("limits", openai.DEFAULT_CONNECTION_LIMITS)
        super().__init__(**settings)

    async def send(self, request: httpx2.Request, *, stream: bool = False, **options: Any) -> httpx2.Response:
        """See :meth:`httpx2.AsyncClient.send`. ``stream`` has no effect: the body is always read."""
        options["follow_redirects"] = False
        original = request
        for _ in range(_MAX_REDIRECTS):
            response = await super().send(request, stream=True, **options)
            if response.status_code not in (307, 308) or response.next_request is None:
                return await _read(response, original)
            await response.aclose()
            request = _without_keys(response.next_request, request)
        raise httpx2.TooManyRedirects(f"more than {_MAX_REDIRECTS} redirects", request=request)


def timeouts(timeout_s: float) -> httpx2.Timeout:
    """Time limits of a request that may take ``timeout_s``."""
    return httpx2.Timeout(timeout_s, connect=min(timeout_s, CONNECT_S))


async def _read(response: httpx2.Response, request: httpx2.Request) -> httpx2.Response:
    """The response with its whole body. ``request`` is the one that ``openai`` made, whose headers it reads again."""
    body = bytearray()
    try:
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise httpx2.ReadError(f"the answer is longer than {MAX_BODY_BYTES >> 20} MiB")
    finally:
        await response.aclose()
    encoded = ("content-encoding", "content-length", "transfer-encoding")
    headers = [(name, value) for name, value in response.headers.raw if name.decode("latin-1").lower() not in encoded]
    return httpx2.Response(response.status_code, headers=headers, content=bytes(body), request=request)


def _without_keys(redirected: httpx2.Request, original: httpx2.Request) -> httpx2.Request:
    """httpx2 removes Authorization on the way to another host; other headers may hold keys as well."""
    if redirected.url.host != original.url.host:
        kept = ("accept", "content-type", "content-length", "host", "user-agent", "connection")
        for name in [name for name in redirected.headers if name.lower() not in kept]:
            del redirected.headers[name]
    return redirected
