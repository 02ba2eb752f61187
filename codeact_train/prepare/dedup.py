"""Deduplication, and the check for over-long records; both run after all records have been read.

Contract: each rule looks only at records that no earlier rule has dropped, except that a repeated id is dropped even if
the first record with that id was dropped. Cost: a few sorts of the rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codeact_train.config.prepare import PrepareConfig
from codeact_train.prepare.near_duplicates import near_duplicates
from codeact_train.prepare.row_schema import REASON, Rows, first_of_each
from codeact_train.prepare.staging import Staged

_NO_RECORD = [
    REASON[reason]
    for reason in ("not_json", "incomplete_line", "bad_record", "mixture", "tool_calls", "empty_reply", "mask_key")
]


def drop_duplicates(staged: Staged, config: PrepareConfig) -> NDArray[np.int64]:
    """Mark the rows that repeat an earlier one; returns the index of that earlier row for each row, or -1."""
    rows = staged.rows
    same_as = np.full(len(rows), -1)
    read = ~np.isin(rows["reason"], _NO_RECORD)
    _drop("duplicate_id", rows, same_as, first_of_each(rows["id"], read))
    if config.deduplicate != "off":
        _drop("duplicate", rows, same_as, first_of_each(rows["text"], rows["reason"] == REASON["kept"]))
    if config.deduplicate == "near":
        _drop("near_duplicate", rows, same_as, near_duplicates(staged.signatures, rows["reason"] == REASON["kept"]))
    return same_as


def _drop(reason: str, rows: Rows, same_as: NDArray[np.int64], first: NDArray[np.int64]) -> None:
    later = np.flatnonzero(first != np.arange(len(first)))
    rows["reason"][later] = REASON[reason]
    same_as[later] = first[later]


def check_over_long(staged: Staged, config: PrepareConfig) -> None:
    """Raises ``ValueError`` when records are too long and ``over_long`` is "error"."""
    rows = staged.rows
    too_long = np.flatnonzero(rows["reason"] == REASON["over_long"])
    if config.over_long == "error" and len(too_long):
        named = [f"{staged.strings[row]['id']} ({rows['tokens'][row]} tokens)" for row in too_long[:3].tolist()]
        raise ValueError(
            f"sequence_length={config.sequence_length}: {len(too_long)} documents are longer, "
            f"first {', '.join(named)}; "
            'raise sequence_length, or set over_long to "drop", "split" or "truncate"'
        )
