"""Functions of the domain ``message_decoder``."""

from __future__ import annotations

import string
from typing import Any, ClassVar

from rollout.families.base import Toolset

_ALPHABETS = (string.ascii_lowercase, string.ascii_uppercase)


class Messages(Toolset):
    """Decodes messages. Without state."""

    kind: ClassVar[str | None] = "m3tooleval-messages"
    names = (
        "convert_hex_to_ascii",
        "reverse_string",
        "caesar_decode",
        "string_length",
        "minimum_value",
        "maximum_value",
    )

    def convert_hex_to_ascii(self, hex_string: str) -> str:
        """Returns the ASCII text that a hexadecimal string stands for."""
        return bytes.fromhex(hex_string).decode("ascii")

    def reverse_string(self, string: str) -> str:
        """Returns the string from its end to its start."""
        return string[::-1]

    def caesar_decode(self, message: str, shift: int) -> str:
        """Undoes a Caesar cipher: moves each letter back by shift, within its case; other characters stay."""
        return "".join(_moved_back(sign, shift) for sign in message)

    def string_length(self, string: str) -> int:
        """Returns the number of characters of a string."""
        return len(string)

    def minimum_value(self, *args: Any) -> Any:
        """Returns the smallest of the arguments, numbers or strings."""
        return min(args)

    def maximum_value(self, *args: Any) -> Any:
        """Returns the largest of the arguments, numbers or strings."""
        return max(args)


def _moved_back(sign: str, shift: int) -> str:
    for letters in _ALPHABETS:
        if sign in letters:
            return letters[(letters.index(sign) - shift) % len(letters)]
    return sign
