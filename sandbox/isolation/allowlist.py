"""Which hosts a kernel may reach: the list a person writes, and the judgement of names and addresses against it.

Contract: an entry is ``host`` (ports 80 and 443) or ``host:port``; a host is a name, ``*.`` and a domain (its
subdomains, not itself), or an address. A name that is listed leads to public addresses only: loopback, private,
link-local and metadata addresses must be listed themselves, so no name server can point a kernel into this machine or
its network.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

DEFAULT_PORTS = frozenset({80, 443})
_NAME = re.compile(r"(\*\.)?([a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}")
_METADATA = frozenset({"168.63.129.16"})  # a cloud's metadata service that has a public address; others are link-local
_TRANSLATED = tuple(ipaddress.ip_network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32"))
"""IPv6 that gateways turn into IPv4 (RFC 6052, 8215, 3056, 4380): the address behind it could be anybody's."""


@dataclass(frozen=True)
class Entry:
    """One line of the list."""

    host: str
    ports: frozenset[int]

    def admits(self, host: str, port: int) -> bool:
        """Whether it names this host (as :func:`split_authority` gives it) and port."""
        named = host.endswith(self.host[1:]) if self.host.startswith("*.") else host == self.host
        return named and port in self.ports


class Hosts:
    """The whole list."""

    def __init__(self, entries: Iterable[str]) -> None:
        self._entries = tuple(parse_entry(text) for text in entries)

    def admits(self, host: str, port: int) -> bool:
        """Whether a kernel may ask for it."""
        return any(entry.admits(host, port) for entry in self._entries)

    def reachable(self, address: str, port: int) -> bool:
        """Whether the address a name led to may be connected to."""
        return is_public(address) or self.admits(_canonical(address), port)

    def addresses(self) -> frozenset[str]:
        """The entries that are addresses."""
        return frozenset(entry.host for entry in self._entries if _is_address(entry.host))


def parse_entry(text: str) -> Entry:
    """Raises ValueError with one sentence for what is no entry."""
    try:
        host, port = split_authority(text)
        wildcard = host.startswith("*.") and not _is_address(host[2:]) and "." in host[2:]
        if "*" in host and not wildcard:
            raise ValueError
    except ValueError:
        raise ValueError(
            f"network: {text!r} is no host; write 'example.org', '*.example.org', '192.0.2.7' or 'example.org:8443'"
        ) from None
    return Entry(host, frozenset({port}) if port else DEFAULT_PORTS)


def split_authority(text: str) -> tuple[str, int | None]:
    """``host:port`` as a lower-case name or a canonical address, and the port if there is one. Raises ValueError."""
    if _is_address(text):
        return _canonical(text), None
    parts = urlsplit(f"//{text}")
    if parts.netloc != text or "@" in text or not parts.hostname or parts.port == 0:
        raise ValueError(f"{text!r} is not host:port")
    if _is_address(parts.hostname):
        return _canonical(parts.hostname), parts.port
    name = parts.hostname.removesuffix(".")
    if len(name) > 253 or not _NAME.fullmatch(name):
        raise ValueError(f"{text!r} is not host:port")
    return name, parts.port


def is_public(address: str) -> bool:
    """Whether an address belongs to the public internet and is not known to serve secrets to whoever asks."""
    parsed = ipaddress.ip_address(_canonical(address))
    if any(parsed in network for network in _TRANSLATED if network.version == parsed.version):
        return False
    return parsed.is_global and not parsed.is_multicast and str(parsed) not in _METADATA


def _canonical(address: str) -> str:
    """One spelling per address; IPv4 inside IPv6 is IPv4."""
    parsed = ipaddress.ip_address(address)
    inner = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(inner or parsed)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text
