"""A kernel's network access: an HTTP proxy on the host that connects to listed hosts and to nothing else.

Contract: the kernel opens a listening socket on its own loopback before its first cell and hands it over; the proxy
accepts there, so it opens nothing in the kernel's network namespace and needs no privilege. It speaks CONNECT and plain
HTTP/1.x, one request per connection. h11 parses request heads, malformed or ambiguous ones are refused, and a plain
request is rewritten for its host, so the host and this proxy cannot read it differently. The name is resolved here,
and the address that was checked is the one that is connected. At most ``connections`` at a time, later ones wait in the
kernel; ``transfer_mib`` over its life. Tunnels are not inspected: a listed host that forwards traffic (domain
fronting, an open proxy) is not detected. Belongs to one event loop; costs nothing for kernels without listed hosts.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import h11

from sandbox.isolation.allowlist import Allowlist, split_authority
from sandbox.limits import Limits

HEAD_BYTES = 1 << 16
HEAD_TIMEOUT_S = 10.0
CONNECT_TIMEOUT_S = 10.0
LINGER_S = 60.0
PIECE = 1 << 16
MIB = 1 << 20
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
HOP_BY_HOP = frozenset({b"connection", b"host", b"keep-alive", b"proxy-authorization", b"proxy-connection", b"upgrade"})
log = logging.getLogger(__name__)
_LOOKUPS = ThreadPoolExecutor(4, "codeact-lookup")  # separate, so that slow names do not block the host's other threads


class RequestRefused(Exception):
    """Answered to the kernel: a status code and a sentence."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


class EgressProxy:
    """The proxy of one kernel and its forks."""

    def __init__(self, listener: socket.socket, allowlist: Allowlist, limits: Limits) -> None:
        """Starts to accept on ``listener``."""
        listener.setblocking(False)
        self._listener, self._allowlist = listener, allowlist
        self._left_bytes = limits.transfer_mib * MIB
        self._slots = asyncio.Semaphore(limits.connections)
        self._loop = asyncio.get_running_loop()
        self._serving: set[asyncio.Task[None]] = set()
        self._accepting = asyncio.ensure_future(self._accept())

    def close(self) -> None:
        """Ends every connection."""
        if self._loop.is_closed():
            self._listener.close()
            return
        for task in (self._accepting, *self._serving):
            task.cancel()
        if self._listener.fileno() >= 0:
            self._loop.remove_reader(self._listener.fileno())
        self._listener.close()

    async def _accept(self) -> None:
        while True:
            await self._slots.acquire()
            try:
                connection, _ = await self._loop.sock_accept(self._listener)
            except OSError:  # no descriptor left, or the kernel closed it before it was accepted
                self._slots.release()
                await asyncio.sleep(0.1)
                continue
            task = asyncio.ensure_future(self._serve(connection))
            self._serving.add(task)
            task.add_done_callback(self._served)

    def _served(self, task: asyncio.Task[None]) -> None:
        self._serving.discard(task)
        self._slots.release()

    async def _serve(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection)
        parser = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
        upstream: asyncio.StreamWriter | None = None
        try:
            with suppress(OSError):
                try:
                    request = await _read_head(parser, reader)
                    host, port, head = _plan(request)
                    downstream, upstream = await self._connect(host, port)
                except RequestRefused as refusal:
                    log.info("refused to a kernel: %s", refusal.reason)
                    writer.write(_refusal(refusal))
                    await writer.drain()
                    return
                if request.method == b"CONNECT":
                    writer.write(ESTABLISHED)
                    up = self._copy(reader, upstream, parser.trailing_data[0])
                else:
                    upstream.write(head)
                    up = self._send_body(parser, reader, upstream, _is_chunked(request))
                await self._relay(up, self._copy(downstream, writer))
        finally:
            for end in (writer, upstream):
                if end is not None:
                    end.close()

    async def _connect(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        where = f"{host}:{port}"
        if not self._allowlist.allows(host, port):
            raise RequestRefused(403, f"{where} is not among the hosts this kernel may reach")
        if self._left_bytes <= 0:
            raise RequestRefused(403, "this kernel has used up what it may transfer")
        try:
            addresses = await asyncio.wait_for(look_up(host, port), CONNECT_TIMEOUT_S)
        except (OSError, UnicodeError, TimeoutError):
            raise RequestRefused(502, f"the name {host} is not known") from None
        allowed = [address for address in addresses if self._allowlist.allows_address(address, port)]
        if not allowed:
            raise RequestRefused(403, f"{host} leads to an address that is not public and not listed itself")
        for address in allowed:
            with suppress(OSError, TimeoutError):
                return await asyncio.wait_for(asyncio.open_connection(address, port), CONNECT_TIMEOUT_S)
        raise RequestRefused(502, f"{where} does not answer")

    async def _relay(self, to_host: Coroutine[Any, Any, None], to_kernel: Coroutine[Any, Any, None]) -> None:
        """Runs both directions until the host is done, or for ``LINGER_S`` after the kernel is."""
        up, down = asyncio.ensure_future(to_host), asyncio.ensure_future(to_kernel)
        try:
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            if not down.done() and up.exception() is None:
                await asyncio.wait({down}, timeout=LINGER_S)
        finally:
            for task in (up, down):
                task.cancel()
            await asyncio.gather(up, down, return_exceptions=True)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first: bytes = b"") -> None:
        """Copies ``first`` and then everything ``reader`` yields."""
        data = first or await reader.read(PIECE)
        while data:
            self._charge(data)
            writer.write(data)
            await writer.drain()
            data = await reader.read(PIECE)
        if writer.can_write_eof():
            writer.write_eof()

    async def _send_body(
        self, parser: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, chunked: bool
    ) -> None:
        """Sends the request's body; drops what the kernel sends after it, until the kernel closes the connection."""
        try:
            while not isinstance(event := parser.next_event(), h11.EndOfMessage):
                if event is h11.NEED_DATA:
                    parser.receive_data(data := await reader.read(PIECE))
                    self._charge(data)
                elif isinstance(event, h11.Data):
                    body = bytes(event.data)
                    writer.write(b"%x\r\n%b\r\n" % (len(body), body) if chunked else body)
                    await writer.drain()
        except h11.RemoteProtocolError as error:
            raise ConnectionAbortedError(f"malformed body: {error}") from None
        if chunked:
            writer.write(b"0\r\n\r\n")
        while data := await reader.read(PIECE):
            self._charge(data)
        if writer.can_write_eof():
            writer.write_eof()

    def _charge(self, data: bytes) -> None:
        self._left_bytes -= len(data)
        if self._left_bytes < 0:
            raise ConnectionAbortedError("the kernel has used up what it may transfer")


async def look_up(host: str, port: int) -> list[str]:
    """The addresses of a name, in the resolver's order. Raises OSError."""
    ask = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(_LOOKUPS, ask)
    return [str(entry[4][0]) for entry in found]


async def _read_head(parser: h11.Connection, reader: asyncio.StreamReader) -> h11.Request:
    """Reads the request line and headers. Raises :class:`RequestRefused`, OSError when the kernel closes first."""
    try:
        request = await asyncio.wait_for(_next_event(parser, reader), HEAD_TIMEOUT_S)
    except h11.RemoteProtocolError as error:
        raise RequestRefused(error.error_status_hint, f"malformed request: {error}"[:300]) from None
    except TimeoutError:
        raise RequestRefused(408, f"no request within {HEAD_TIMEOUT_S:.0f} s") from None
    if not isinstance(request, h11.Request):
        raise ConnectionResetError("closed without a request")
    return request


async def _next_event(parser: h11.Connection, reader: asyncio.StreamReader) -> object:
    left = HEAD_BYTES
    while (event := parser.next_event()) is h11.NEED_DATA:
        if left == 0:
            raise RequestRefused(431, f"a request head of more than {HEAD_BYTES} bytes")
        data = await reader.read(left)
        left -= len(data)
        parser.receive_data(data)
    return event


def _plan(request: h11.Request) -> tuple[str, int, bytes]:
    """Host and port to connect to, and the head to send there (empty for a tunnel). Raises :class:`RequestRefused`."""
    if request.http_version not in (b"1.0", b"1.1"):
        raise RequestRefused(400, "this is an HTTP proxy; it speaks HTTP/1.1")
    target = request.target.decode("ascii")
    try:
        if request.method == b"CONNECT":
            host, port = split_authority(target)
            if port is None:
                raise ValueError
            return host, port, b""
        url = urlsplit(target)
        if url.scheme != "http":
            raise ValueError
        host, port = split_authority(url.netloc)
    except ValueError:
        raise RequestRefused(400, "the proxy takes CONNECT host:port or a full http:// address") from None
    names = {name for name, _ in request.headers}
    if b"transfer-encoding" in names and (b"content-length" in names or request.http_version == b"1.0"):
        raise RequestRefused(400, "malformed request: Transfer-Encoding with Content-Length or in HTTP/1.0")
    path = urlunsplit(("", "", url.path or "/", url.query, "")).encode("ascii")
    kept = [b"%b: %b" % item for item in request.headers.raw_items() if item[0].lower() not in HOP_BY_HOP]
    lines = [
        b"%b %b HTTP/%b" % (request.method, path, request.http_version),
        b"Host: %b" % url.netloc.encode("ascii"),
        *kept,
        b"Connection: close",
    ]
    return host, port or 80, b"\r\n".join([*lines, b"", b""])


def _is_chunked(request: h11.Request) -> bool:
    return any(name == b"transfer-encoding" for name, _ in request.headers)


def _refusal(refusal: RequestRefused) -> bytes:
    """The response. The sentence is in the status line, too, which is what clients show when a tunnel fails."""
    body = f"{refusal.reason}\n".encode()
    head = f"HTTP/1.1 {refusal.code} {refusal.reason}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode("latin-1") + body
