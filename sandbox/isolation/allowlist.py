"""Which hosts a kernel may reach: the entries a person writes, and how names and addresses are checked against them.

Contract: an entry is ``host`` (ports 80 and 443) or ``host:port``; a host is a name, ``*.`` and a domain (its
subdomains, not the domain itself), or an address. A listed name is connected only to public addresses: loopback,
private, link-local and metadata addresses must be listed themselves, so that no name server can point a kernel at this
machine or its network.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

DEFAULT_PORTS = frozenset({80, 443})
_NAME = re.compile(r"(\*\.)?([a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}")
_METADATA = frozenset({"168.63.129.16"})  # a cloud's metadata service on a public address; others are link-local
_TRANSLATED = tuple(ipaddress.ip_network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32"))
"""IPv6 ranges that gateways translate to IPv4 (RFC 6052, 8215, 3056, 4380), which may be a private address."""


@dataclass(frozen=True)
class AllowlistEntry:
    """One entry of the list."""

    host: str
    ports: frozenset[int]

    def allows(self, host: str, port: int) -> bool:
        """Whether it covers this port of a host, spelled as :func:`split_authority` returns it."""
        named = host.endswith(self.host[1:]) if self.host.startswith("*.") else host == self.host
        return named and port in self.ports


class Allowlist:
    """The whole list."""

    def __init__(self, entries: Iterable[str]) -> None:
        """Raises ValueError as :func:`parse_entry` does."""
        self._entries = tuple(parse_entry(text) for text in entries)

    def allows(self, host: str, port: int) -> bool:
        """Whether a kernel may ask for this host and port."""
        return any(entry.allows(host, port) for entry in self._entries)

    def allows_address(self, address: str, port: int) -> bool:
        """Whether a connection to the address a listed name resolved to is allowed."""
        return is_public(address) or self.allows(_canonical(address), port)

    def addresses(self) -> frozenset[str]:
        """The entries that are addresses."""
        return frozenset(entry.host for entry in self._entries if _is_address(entry.host))


def parse_entry(text: str) -> AllowlistEntry:
    """Raises ValueError for malformed entries."""
    try:
        host, port = split_authority(text)
        wildcard = host.startswith("*.") and not _is_address(host[2:]) and "." in host[2:]
        if "*" in host and not wildcard:
            raise ValueError
    except ValueError:
        raise ValueError(
            f"network: {text!r} is not a host; write 'example.org', '*.example.org', '192.0.2.7' or 'example.org:8443'"
        ) from None
    return AllowlistEntry(host, frozenset({port}) if port else DEFAULT_PORTS)


def split_authority(text: str) -> tuple[str, int | None]:
    """Splits ``host:port`` into a lower-case name or a canonical address, and the port if given. Raises ValueError."""
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
    """Whether an address is on the public internet and not a metadata service."""
    parsed = ipaddress.ip_address(_canonical(address))
    if any(parsed in network for network in _TRANSLATED if network.version == parsed.version):
        return False
    return parsed.is_global and not parsed.is_multicast and str(parsed) not in _METADATA


def _canonical(address: str) -> str:
    """One spelling per address; IPv4-mapped IPv6 becomes IPv4."""
    parsed = ipaddress.ip_address(address)
    inner = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(inner or parsed)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text
