"""Framing of Jupyter messages over one stream socket, for both ends.

Contract: a frame is a length (4 bytes, big endian), a channel (1 byte) and one JSON object with the four parts of a
Jupyter message. Order holds across all channels, which ZeroMQ's separate sockets do not give. JSON is ASCII, so lone
surrogates and NUL survive. Messages are not signed: the socket pair is inherited and no other process can open it.
"""

from __future__ import annotations

import json
import struct
from typing import Any

SHELL, IOPUB, CONTROL = 0, 1, 2
CONTAINERS = 50_000
"""The most lists and objects in one message: parsed they take some thirty times their size on the wire."""
SCHEME = "hmac-sha256"
"""Signature scheme of messages over ZeroMQ, where stock clients connect."""
READ_BYTES = 1 << 16
"""Size of one read; glibc would map and unmap a larger buffer for each read."""
_HEAD = struct.Struct("!IB")
_encode = json.JSONEncoder(separators=(",", ":")).encode


class FrameTooLarge(ValueError):
    """The other side announced a frame above the limit."""


def pack(channel: int, message: dict[str, Any]) -> bytes:
    """One frame."""
    payload = _encode(message).encode("ascii")
    return _HEAD.pack(len(payload), channel) + payload


class Splitter:
    """Splits a byte stream into frames; holds at most one incomplete frame of ``limit`` bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Complete frames as (channel, payload). Raises :class:`FrameTooLarge`."""
        buffer = self._buffer
        buffer += data
        start, frames = 0, []
        while len(buffer) - start >= _HEAD.size:
            size, channel = _HEAD.unpack_from(buffer, start)
            if size > self.limit:
                raise FrameTooLarge(f"a frame of {size} bytes, the limit is {self.limit}")
            end = start + _HEAD.size + size
            if len(buffer) < end:
                break
            frames.append((channel, bytes(buffer[start + _HEAD.size : end])))
            start = end
        del buffer[:start]
        return frames
