"""Opens a file of text as a stream of UTF-8 bytes.

Contract: compression (gzip, zstd, bzip2, xz) is recognised by the first bytes of the file, and the encoding (UTF-8,
UTF-16, UTF-32, with or without a byte order mark) by the first bytes of the text. Names and suffixes have no effect.
Cost: one block of the file in memory. The module does not look at lines or JSON.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import json
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

DAMAGED = (EOFError, zlib.error, lzma.LZMAError, OSError)
"""What the decompressors raise."""
_UTF8 = ("utf-8", "utf-8-sig")
_BLOCK_CHARS = 2**16


def _zstd(file: IO[bytes]) -> io.RawIOBase:
    import pyarrow

    stream: io.RawIOBase = pyarrow.CompressedInputStream(pyarrow.PythonFile(file, "r"), "zstd")
    return stream


_DECOMPRESSORS: dict[bytes, tuple[str, Callable[[IO[bytes]], Any]]] = {
    b"\x1f\x8b": ("gzip", lambda file: gzip.GzipFile(fileobj=file)),
    b"\x28\xb5\x2f\xfd": ("zstd", _zstd),
    b"BZh": ("bzip2", bz2.BZ2File),
    b"\xfd7zXZ\x00": ("xz", lzma.LZMAFile),
}
_ARCHIVES = {b"PK\x03\x04": "zip", b"7z\xbc\xaf": "7z", b"Rar!": "rar"}


def first_bytes(path: Path, count: int = 8) -> bytes:
    """The first bytes of a file."""
    with path.open("rb") as file:
        return file.read(count)


def compression(path: Path) -> str | None:
    """Name of a file's compression; ``None`` for a file that is not compressed."""
    return next((name for magic, (name, _) in _DECOMPRESSORS.items() if first_bytes(path).startswith(magic)), None)


@contextmanager
def open_utf8(path: Path, encoding: str | None = None) -> Iterator[tuple[io.BufferedReader, Callable[[], int]]]:
    """Yields the text of a file as UTF-8 bytes, and a function that returns how many bytes of the file were read.

    ``encoding`` overrides the one recognised. Raises ``ValueError`` for an archive, for an unknown encoding, and while
    reading when the file is damaged or not in its encoding.
    """
    head = first_bytes(path)
    if archive := next((name for magic, name in _ARCHIVES.items() if head.startswith(magic)), None):
        raise ValueError(f"{path}: a {archive} archive; unpack it and give the files in it")
    if encoding is not None:
        _check_known(encoding)
    unpack = next((opener for magic, (_, opener) in _DECOMPRESSORS.items() if head.startswith(magic)), None)
    with path.open("rb") as file:
        try:
            stream = io.BufferedReader(unpack(file)) if unpack else file
            found = encoding or json.detect_encoding(stream.peek(4)[:4])
            if found == "utf-8-sig":
                stream.read(3)
            yield (stream if found in _UTF8 else io.BufferedReader(_Recoded(stream, found))), file.tell
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: not {error.encoding} at byte {error.start}; save the file as UTF-8") from error
        except DAMAGED as error:
            if unpack is None:
                raise
            raise ValueError(f"{path}: cannot be decompressed ({error}); fetch or write it again") from error


def _check_known(encoding: str) -> None:
    try:
        codecs.lookup(encoding)
    except LookupError:
        raise ValueError(f"encoding={encoding}: not known; give one that Python knows, such as latin-1") from None


class _Recoded(io.RawIOBase):
    """A stream of text in some encoding, read as UTF-8."""

    def __init__(self, stream: IO[bytes], encoding: str):
        self._text = io.TextIOWrapper(stream, encoding, newline="")
        self._pending = b""

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer with the bytes that come next; 0 at the end."""
        if not self._pending:
            self._pending = self._text.read(_BLOCK_CHARS).encode("utf-8", "surrogatepass")
        count = min(len(buffer), len(self._pending))
        buffer[:count], self._pending = self._pending[:count], self._pending[count:]
        return count
