"""One item of a file to a record, or to the reason why it is none.

Contract: ``parse`` reads the forms of :mod:`.turns`. The conversation is under ``conversations``, ``messages`` or
``conversation``, as a list, as JSON in a text, or as a list for each key. An id that is a whole number becomes text. A
record without an id gets 16 hexadecimal digits of the SHA-256 of its turns, which depend on neither file nor place.
What ``rules`` do not allow is refused with the setting that allows it. Cost: microseconds a record. Duplicates are not
looked for.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from codeact_train.config.prepare import ReadingSettings
from codeact_train.data.records.record import Record, Unreadable
from codeact_train.data.records.turns import Refusal, read_turns

CONVERSATIONS = ("conversations", "messages", "conversation")
"""Keys of a record that may hold its turns."""
_TRAJECTORY = {"messages", "outcome", "protocol", "sampling"}
_SHOWN_KEYS = 8
_DEFAULT = ReadingSettings()


def parse(raw: bytes, rules: ReadingSettings = _DEFAULT) -> Record | Unreadable:
    """The record of an item, or why there is none."""
    try:
        value = from_json(raw)
    except ValueError as error:
        return _no_json(raw, error)
    if not isinstance(value, dict):
        return Unreadable("bad_record", "record: Input should be an object")
    given = next((value[key] for key in CONVERSATIONS if value.get(key) is not None), None)
    if given is None:
        return Unreadable("bad_record", f"conversations: Field required{_keys_instead(value)}")
    known = _given_id(value)
    if value.keys() >= _TRAJECTORY:
        return Unreadable("bad_record", "a trajectory of a bank, not a record; run codeact select on the bank", known)
    given = _as_list(given)
    try:
        record = _record(value, given, value.get("id") if known is None else known, rules)
    except Refusal as refusal:
        return Unreadable(refusal.reason, refusal.detail, known)
    except ValidationError as error:
        first = error.errors()[0]
        return Unreadable("bad_record", f"{'.'.join(map(str, first['loc'])) or 'record'}: {first['msg']}", known)
    if rules.empty_replies == "drop" and (empty := _empty_reply(record)) is not None:
        advice = "give it weight 0 to keep it as context, or set prepare.reading.empty_replies=train"
        return Unreadable("empty_reply", f"turn {empty} is an assistant turn without text; {advice}", known)
    return record


def _given_id(value: Any) -> str | None:
    name = value.get("id") if isinstance(value, dict) else None
    return str(name) if isinstance(name, str | int) and not isinstance(name, bool) else None


def _record(value: dict[str, Any], given: Any, name: Any, rules: ReadingSettings) -> Record:
    left_out = False
    if isinstance(given, list):
        read = read_turns(value, given, rules)
        given, left_out = read.turns, read.reasoning_left_out
    return Record.model_validate(
        {
            "id": _digest(given) if name is None else name,
            "conversations": given,
            "source": value.get("source"),
            "group": value.get("group"),
            "id_from_content": name is None,
            "reasoning_left_out": left_out,
        }
    )


def _digest(turns: Any) -> str:
    if not isinstance(turns, list):
        return ""
    said = [[turn.get("role"), turn.get("content")] if isinstance(turn, dict) else turn for turn in turns]
    return hashlib.sha256(json.dumps(said, default=str).encode()).hexdigest()[:16]


def _empty_reply(record: Record) -> int | None:
    """Number of the first assistant turn without text that would be trained."""
    for number, turn in enumerate(record.conversations):
        if turn.role == "assistant" and turn.weight != 0 and not turn.content.strip():
            return number
    return None


def _as_list(given: Any) -> Any:
    """A conversation as a list of turns, from JSON in a text, or from a list for each key as Arrow may store it."""
    if isinstance(given, str):
        try:
            return from_json(given)
        except ValueError:
            return given
    columns = list(given.values()) if isinstance(given, dict) else []
    if all(isinstance(column, list) for column in columns) and len({len(column) for column in columns}) == 1:
        return [dict(zip(given, row, strict=True)) for row in zip(*columns, strict=True)]
    return given


def _no_json(raw: bytes, error: ValueError) -> Unreadable:
    if not raw.endswith(b"\n"):
        return Unreadable("incomplete_line", "the last line is incomplete: its writer was interrupted")
    hint, name = "", None
    try:
        value = json.loads(raw)
        hint, name = "; a text with half of a surrogate pair has no tokens", _given_id(value)
    except UnicodeDecodeError:
        hint = "; not UTF-8: save the file as UTF-8, or run codeact records convert --encoding"
    except (ValueError, RecursionError):
        pass
    return Unreadable("not_json", f"Invalid JSON: {error}{hint}", name)


def _keys_instead(value: dict[str, Any]) -> str:
    """The keys of an item without a conversation, where they may say what it is."""
    keys = [key for key in value if key not in ("id", "source", "group")]
    more = ", …" if len(keys) > _SHOWN_KEYS else ""
    return f" (keys here: {', '.join(keys[:_SHOWN_KEYS])}{more})" if keys else ""
