"""The grader of API-Bank (arXiv 2304.08244): is the call that was made the recorded one?

Contract: what is graded is made by the host, which records the calls of functions: ``{"calls": [record, …], "parsed":
record or null, "error": text}``. A record has ``api_name``, ``input``, ``output`` and ``exception``. ``parsed`` is the
call that the reference system's expressions find in the turn, for :func:`legacy_apibank`. A record alone stands for a
turn that made this call.

The rule: exactly one call, of the recorded API, with its input, output and exception. As in the original, texts such as
the content of a reminder are the same when more than half of their words are; names of users, symptoms and the like are
compared without case; ids and tokens that the original draws at random are not compared; a search is judged by its
results.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rollout.graders.verdict import Verdict, right, wrong

SHARE_OF_WORDS = 0.5
"""Texts with a greater share of common words are the same."""
_WORDY = {"content", "meeting_topic"}
_WITHOUT_CASE = {"device_id", "keyword", "music_name", "name", "receiver", "symptom", "user_id"}
_BY_OUTPUT = {"Dictionary", "SearchEngine", "ToolSearcher"}
_DRAWN = {"AppointmentRegistration", "RegisterUser"}
_EXACT_TEXT = {"SendEmail", "OpenBankAccount"}
"""APIs in which a text that is called content or name is compared as it is."""
_TOKEN_UNSEEN = ("Agenda", "Reminder")
"""The reference does not compare the tokens of these."""

Record = Mapping[str, Any]


def apibank(proposed: str, reference: str) -> Verdict:
    """Exactly one call, and it is the recorded one."""
    wanted = json.loads(reference)
    calls, error = _calls(proposed)
    if not calls:
        return wrong(f"no call was made ({error})" if error else "no call was made")
    if len(calls) > 1:
        return wrong(f"{len(calls)} calls were made: {', '.join(str(one['api_name']) for one in calls[:4])}")
    difference = _difference(calls[0], wanted)
    return wrong(difference) if difference else right("it is the recorded call")


def legacy_apibank(proposed: str, reference: str) -> Verdict:
    """The reference's rule on the call that its expressions find, made on databases without the earlier calls."""
    wanted = json.loads(reference)
    call = _read(proposed).get("parsed")
    if call is None:
        return wrong("its expressions find no call")
    difference = _difference(call, wanted, legacy=True)
    return wrong(difference) if difference else right("it is the recorded call")


def _read(proposed: str) -> dict[str, Any]:
    try:
        said = json.loads(proposed)
    except ValueError:
        return {}
    if not isinstance(said, dict):
        return {}
    return {"calls": [said], "parsed": said} if "api_name" in said else said


def _calls(proposed: str) -> tuple[list[dict[str, Any]], str]:
    said = _read(proposed)
    return list(said.get("calls", ())), str(said.get("error") or "")


def _difference(call: Record, wanted: Record, legacy: bool = False) -> str:
    """In what the call differs from the record; empty when it does not."""
    name = wanted["api_name"]
    if call["api_name"] != name:
        return f"{call['api_name']} was called, not {name}"
    if call["exception"] != wanted["exception"]:
        return f"the exception is {call['exception']!r}, not {wanted['exception']!r}"
    if name not in _BY_OUTPUT:
        given, recorded = _compared(name, call["input"], legacy), _compared(name, wanted["input"], legacy)
        if set(given) != set(recorded):
            return f"the inputs are {', '.join(given) or 'none'}, not {', '.join(recorded) or 'none'}"
        for key, value in given.items():
            if not _same_input(name, key, value, recorded[key], legacy):
                return f"{key} is {value!r}, not {recorded[key]!r}"
    if name not in _DRAWN and _output(name, call["output"]) != _output(name, wanted["output"]):
        return "the output is another one"
    return ""


def _compared(name: str, inputs: Mapping[str, Any] | None, legacy: bool) -> dict[str, Any]:
    """The inputs that are compared."""
    unseen = legacy and name.endswith(_TOKEN_UNSEEN)
    return {key: value for key, value in (inputs or {}).items() if not (unseen and key == "token")}


def _same_input(name: str, key: str, given: Any, wanted: Any, legacy: bool) -> bool:
    if key == "health_data":
        return _health(given) == _health(wanted)
    if not (isinstance(given, str) and isinstance(wanted, str)):
        return bool(given == wanted) and isinstance(given, bool) is isinstance(wanted, bool)
    given, wanted = given.strip(), wanted.strip()
    exact = name in _EXACT_TEXT and key != "receiver"
    if key in _WORDY and not exact:
        cased = legacy and not name.endswith("Reminder")
        given, wanted = (given, wanted) if cased else (given.lower(), wanted.lower())
        return _share(given, wanted) > SHARE_OF_WORDS
    if key in _WITHOUT_CASE and not exact:
        return given.lower() == wanted.lower()
    if key == "formula":
        return "".join(given.split()) == "".join(wanted.split())
    return given == wanted


def _share(one: str, other: str) -> float:
    """Words of both texts among the words of either."""
    first, second = set(one.split()), set(other.split())
    return len(first & second) / len(first | second) if first | second else 1.0


def _health(data: Any) -> Any:
    """Names and values as texts, in a fixed order."""
    if not isinstance(data, list) or not all(isinstance(one, Mapping) for one in data):
        return data
    return sorted((str(one.get("name")), str(one.get("value"))) for one in data)


def _output(name: str, output: Any) -> Any:
    """The output in the form in which it is compared."""
    if name == "SearchEngine" and isinstance(output, list):
        return sorted((str(one["title"]), str(one["abstract"])) for one in output)
    if name == "ToolSearcher":
        return [one["name"] for one in (output if isinstance(output, list) else [output])]
    if name == "QueryScene" and isinstance(output, list):
        return [(str(one["name"]).lower(), one["description"]) for one in output]
    return output
