"""A kernel's way out: an HTTP proxy on the host that connects to listed hosts and to nothing else.

Contract: the kernel opened a listening socket on its own loopback before its first cell and gave it away; this end
accepts there, so nothing of the kernel's network namespace is opened and no privilege is needed. Speaks CONNECT and
plain HTTP (one request per connection). The name is looked up here, and the address that was judged is the one that is
connected to. At most ``connections`` at a time, later ones wait in the kernel; ``transfer_mib`` over its life. Does not
look into tunnels: what a listed host passes on (domain fronting, an open proxy) is not prevented. Belongs to one event
loop; costs nothing for kernels without listed hosts.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from urllib.parse import urlsplit, urlunsplit

from sandbox.isolation.allowlist import Hosts, split_authority
from sandbox.limits import Limits

HEAD_BYTES = 1 << 16
HEAD_TIMEOUT_S = 10.0
CONNECT_TIMEOUT_S = 10.0
LINGER_S = 60.0
PIECE = 1 << 16
MIB = 1 << 20
log = logging.getLogger(__name__)
_LOOKUPS = ThreadPoolExecutor(4, "codeact-lookup")  # of their own: slow names must not hold up the host's other threads
Way = tuple[asyncio.StreamReader, asyncio.StreamWriter]
HOP_BY_HOP = frozenset({"connection", "host", "keep-alive", "proxy-authorization", "proxy-connection", "upgrade"})


class Refused(Exception):
    """Answered to the kernel: a status code and a sentence."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


class Egress:
    """The proxy of one kernel and its branches."""

    def __init__(self, listener: socket.socket, hosts: Hosts, limits: Limits) -> None:
        """Starts to accept on ``listener``."""
        listener.setblocking(False)
        self._listener, self._hosts = listener, hosts
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
            except OSError:  # out of descriptors, or closed on the other side before it was accepted
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
        reader, writer = await asyncio.open_connection(sock=connection, limit=HEAD_BYTES)
        upstream: asyncio.StreamWriter | None = None
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                try:
                    head = await _read_head(reader)
                    host, port, first, answer = _plan(head)
                    downstream, upstream = await self._connect(host, port)
                except Refused as refusal:
                    log.info("refused to a kernel: %s", refusal.reason)
                    writer.write(_refusal(refusal))
                    await writer.drain()
                    return
                upstream.write(first)
                writer.write(answer)
                await self._pipe((reader, upstream), (downstream, writer))
        finally:
            for end in (writer, upstream):
                if end is not None:
                    end.close()

    async def _connect(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        where = f"{host}:{port}"
        if not self._hosts.admits(host, port):
            raise Refused(403, f"{where} is not among the hosts this kernel may reach")
        if self._left_bytes <= 0:
            raise Refused(403, "this kernel has used up what it may transfer")
        try:
            addresses = await asyncio.wait_for(look_up(host, port), CONNECT_TIMEOUT_S)
        except (TimeoutError, OSError, UnicodeError):
            raise Refused(502, f"the name {host} is not known") from None
        allowed = [address for address in addresses if self._hosts.reachable(address, port)]
        if not allowed:
            raise Refused(403, f"{host} leads to an address that is not public and not listed itself")
        for address in allowed:
            with suppress(OSError, asyncio.TimeoutError):
                return await asyncio.wait_for(asyncio.open_connection(address, port), CONNECT_TIMEOUT_S)
        raise Refused(502, f"{where} does not answer")

    async def _pipe(self, to_host: Way, to_kernel: Way) -> None:
        """Copies both ways until the host is done, or lingers no longer after the kernel is."""
        up, down = (asyncio.ensure_future(self._copy(*way)) for way in (to_host, to_kernel))
        try:
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            if not down.done() and up.exception() is None:
                await asyncio.wait({down}, timeout=LINGER_S)
        finally:
            for task in (up, down):
                task.cancel()
            await asyncio.gather(up, down, return_exceptions=True)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(PIECE):
            self._left_bytes -= len(data)
            if self._left_bytes < 0:
                raise ConnectionAbortedError("the kernel has used up what it may transfer")
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


async def look_up(host: str, port: int) -> list[str]:
    """The addresses of a name, in the resolver's order. Raises OSError."""
    ask = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(_LOOKUPS, ask)
    return [str(entry[4][0]) for entry in found]


async def _read_head(reader: asyncio.StreamReader) -> list[str]:
    """Request line and header lines."""
    try:
        data = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), HEAD_TIMEOUT_S)
    except asyncio.LimitOverrunError:
        raise Refused(431, f"a request head of more than {HEAD_BYTES} bytes") from None
    except TimeoutError:
        raise Refused(408, f"no request within {HEAD_TIMEOUT_S:.0f} s") from None
    return data.decode("latin-1").split("\r\n")[:-2]


def _plan(head: list[str]) -> tuple[str, int, bytes, bytes]:
    """Where to connect, what to send there first, what to answer first. Raises :class:`Refused`."""
    words = head[0].split(" ")
    if len(words) != 3 or words[2] not in ("HTTP/1.1", "HTTP/1.0"):
        raise Refused(400, "this is an HTTP proxy; it speaks HTTP/1.1")
    method, target, version = words
    try:
        if method == "CONNECT":
            host, port = split_authority(target)
            if port is None:
                raise ValueError
            return host, port, b"", b"HTTP/1.1 200 Connection established\r\n\r\n"
        url = urlsplit(target)
        if url.scheme != "http":
            raise ValueError
        host, port = split_authority(url.netloc)
    except ValueError:
        raise Refused(400, "the proxy takes CONNECT host:port or a full http:// address") from None
    path = urlunsplit(("", "", url.path or "/", url.query, ""))
    kept = [line for line in head[1:] if line.partition(":")[0].strip().lower() not in HOP_BY_HOP]
    lines = [f"{method} {path} {version}", f"Host: {url.netloc}", *kept, "Connection: close", "", ""]
    return host, port or 80, "\r\n".join(lines).encode("latin-1"), b""


def _refusal(refusal: Refused) -> bytes:
    """The sentence stands in the status line, too: that is what clients show when a tunnel fails."""
    body = f"{refusal.reason}\n".encode()
    head = f"HTTP/1.1 {refusal.code} {refusal.reason}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode("latin-1") + body
