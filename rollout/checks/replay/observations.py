r"""Compares what a cell printed in a recorded run with what it prints in a replay.

Contract: :func:`compare` says ``equal``, ``normalised`` (equal after the rules below) or the reason of the difference.
The rules, in this order:

1. The frame of the protocol is removed: ``Observation:``, the countdown, the sentence for a cell without output.
2. Terminal sequences, trailing spaces and blank lines are removed.
3. ``Out[3]: 5``, IPython's echo of a value, is the value.
4. A traceback is its exception: name and message, without a line number at its end. The frames name other files.
5. Addresses such as ``0x7f6a032c0790`` are ``0x…``.
6. Of an output that was cut, in the record or here, only the beginning that both have is compared.

Nothing else is: numbers are not rounded, lines are not sorted. Pure; linear in the texts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

EQUAL: Final = "equal"
NORMALISED: Final = "normalised"

_COUNTDOWN = re.compile(
    r"\n?You have \d+ (?:steps? left and \d+ chances? to propose solution left|turns and \d+ proposals left)\.\s*"
    r"(?:You should take the last step to propose a solution\.|This is your last turn: propose an answer\.)?\s*\Z"
)
_NO_OUTPUT = ("[Executed Successfully with No Output]", "[no output]")
_CUT = re.compile(r"\n?(?:\.\.\.\n\[Output Truncated\]|\[… \d+ characters left out …\])")
_ECHO = re.compile(r"^Out\[\d+\]:[ \n]", re.MULTILINE)
_HEADER = re.compile(r"^-{30,}\n([A-Za-z_][\w.]*) +Traceback \(most recent call last\)", re.MULTILINE)
_CHAINED = re.compile(r"^([A-Za-z_][\w.]*) +Traceback \(most recent call last\)", re.MULTILINE)
_SYNTAX = re.compile(
    r"^ *(?:Cell In\[\d+\]|File|Input In|<cell).{0,300}\n(?:.*\n){0,4}?(\w*(?:Syntax|Indentation|Tab)Error): (.*)\Z",
    re.MULTILINE,
)
_LINE = re.compile(r" \((?:<[^<>]*>, )?line \d+\)\Z")
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}\b")
_TERMINAL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_RANDOM = re.compile(r"\b(?:random|randint|randrange|choice|shuffle|datetime|time\.|today|now\(|uuid|perf_counter)")
_SEARCH = re.compile(r"\b(?:wikipedia_?\w*|search)\b", re.IGNORECASE)
_NETWORK = re.compile(r"URLError|HTTPError|ConnectionError|socket|requests|urllib|https?://|getaddrinfo")
_TIMEOUT = re.compile(r"TimeoutError|time limit|\[timeout")


@dataclass(frozen=True)
class Output:
    """An observation in parts: what was printed (the value included), and the exception that ended the cell."""

    printed: str
    error: str | None = None
    message: str = ""
    cut: bool = False
    """The end is missing."""


def read_output(observation: str, error_name: str | None = None) -> Output:
    """The parts of an observation, by rules 1 to 5.

    Args:
        observation: the whole user message.
        error_name: the exception that ended the cell, where it is known.
    """
    text = _COUNTDOWN.sub("", _TERMINAL.sub("", observation)).removeprefix("Observation:\n")
    pieces = _CUT.split(text, maxsplit=1)
    text, cut = pieces[0], len(pieces) > 1
    printed, error, message = _split_error(text, error_name, cut)
    printed = _ECHO.sub("", printed)
    for sentence in _NO_OUTPUT:
        printed = printed.removesuffix(sentence)
    return Output(_tidy(printed), error, _LINE.sub("", _tidy(message)), cut)


def _split_error(text: str, error_name: str | None, cut: bool) -> tuple[str, str | None, str]:
    """Text before the exception, its name and its message."""
    if found := _HEADER.search(text):
        name = _CHAINED.findall(text)[-1]
        last = text.rfind(f"\n{name}: ")
        return text[: found.start()], name, text[last + len(name) + 3 :] if last >= 0 and not cut else ""
    if found := _SYNTAX.search(text):
        return text[: found.start()], found[1], found[2]
    if error_name:
        start = max(text.rfind(f"\n{error_name}: "), 0 if text.startswith(f"{error_name}: ") else -1)
        if start >= 0:
            return text[:start], error_name, text[start:].strip().removeprefix(f"{error_name}:")
        return text, error_name, ""
    return text, None, ""


def _tidy(text: str) -> str:
    lines = (line.rstrip() for line in _ADDRESS.sub("0x…", text).split("\n"))
    return "\n".join(line for line in lines if line).strip()


def compare(recorded: str, replayed: str, code: str = "", error_name: str | None = None) -> str:
    """``equal``, ``normalised``, or the reason of the difference in a few words.

    Args:
        recorded: the recorded user message.
        replayed: ours.
        code: the cell, which shows what cannot be repeated.
        error_name: the exception that ended our cell.
    """
    if _bare(recorded) == _bare(replayed):
        return EQUAL
    then, now = read_output(recorded), read_output(replayed, error_name)
    if _same(then, now):
        return NORMALISED
    return _reason(then, now, recorded, replayed, code)


def _bare(observation: str) -> str:
    return _COUNTDOWN.sub("", observation).removeprefix("Observation:\n").strip()


def _same(then: Output, now: Output) -> bool:
    if then.cut or now.cut:
        length = min(len(then.printed), len(now.printed))
        whole = (then.error, then.printed) == (now.error, now.printed)  # only the traceback was cut
        return whole or (length > 0 and then.printed[:length] == now.printed[:length])
    return (then.printed, then.error, then.message) == (now.printed, now.error, now.message)


def _reason(then: Output, now: Output, recorded: str, replayed: str, code: str) -> str:
    """Why two outputs differ: first what cannot be repeated, then what another version explains."""
    outside = _reason_outside(then, now, recorded + replayed, code)
    if outside:
        return outside
    if then.error and now.error:
        if then.error != now.error:
            return "another exception"
        return "same exception, other message" if then.printed == now.printed else "other output before the exception"
    if then.error or now.error:
        return "an exception only in the record" if then.error else "an exception only here"
    if sorted(then.printed.split("\n")) == sorted(now.printed.split("\n")):
        return "other order of lines"
    if _close_numbers(then.printed, now.printed):
        return "other last digits"
    if "".join(then.printed.split()) == "".join(now.printed.split()):
        return "other spaces"
    if "".join(sorted(then.printed)) == "".join(sorted(now.printed)):
        return "other order of terms or items"
    if then.printed and now.printed.startswith(then.printed):
        return "more output here"
    return "other output"


def _reason_outside(then: Output, now: Output, texts: str, code: str) -> str | None:
    """Causes outside the cell: a search, the network, the clock, chance, a library."""
    if _SEARCH.search(code):
        return "live search"
    if _TIMEOUT.search(texts):
        return "time limit"
    if "ModuleNotFoundError" in (then.error, now.error) or "ImportError" in (then.error, now.error):
        return "a library of another version" if then.error == now.error else "a library that only one side has"
    if _NETWORK.search(code):
        return "network"
    if _RANDOM.search(code):
        return "chance or the clock"
    return None


def _close_numbers(one: str, other: str) -> bool:
    """The same text around numbers that agree to a millionth."""
    if _NUMBER.sub("#", one) != _NUMBER.sub("#", other):
        return False
    pairs = zip(_NUMBER.findall(one), _NUMBER.findall(other), strict=True)
    return all(abs(float(a) - float(b)) <= 1e-6 * max(abs(float(a)), abs(float(b)), 1e-6) for a, b in pairs)
