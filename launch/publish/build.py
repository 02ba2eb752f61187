"""Builds the folder of a data set from files of records.

Contract: ``data/SPLIT-00000-of-00001.parquet`` and so on, and ``README.md``. Records are shuffled with a seed, so the
same files and seed give the same folder, byte for byte. A file with a record that cannot be read is refused: a data set
is published whole. Cost: the records of a split are in memory.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from codeact_train import ReadingSettings, Record, read_records
from launch.inputs.resolve_records import resolve_records
from launch.publish.card import CardFacts, card
from rollout import CountTokens, token_table

RECORDS_PER_FILE = 50_000
_SPLIT = re.compile(r"\w+(?:\.\w+)*")


@dataclass(frozen=True)
class Publication:
    """What to publish.

    Attributes:
        splits: split → file of records.
        title: heading of the card.
        licence: licence of the data, in the hub's words.
        selection: ``selection.json`` of the run, or None.
        seed: seed of the order of records.
        count_tokens: tokenizer of the statistics, or None.
        tokenizer: its name.
    """

    splits: Mapping[str, str]
    title: str
    licence: str = "other"
    selection: Path | None = None
    seed: int = 42
    count_tokens: CountTokens | None = None
    tokenizer: str = ""


def build_data_set(what: Publication, folder: Path) -> dict[str, Any]:
    """Writes the files into an empty ``folder``.

    Returns:
        Split → its table of records and tokens.

    Raises:
        ValueError: a file is missing, empty, or has a record that cannot be read; a split's name cannot be one.
    """
    tables: dict[str, Any] = {}
    files: dict[str, str] = {}
    (folder / "data").mkdir()
    for split, path in what.splits.items():
        if not _SPLIT.fullmatch(split):
            raise ValueError(f"{split}={path}: the name of a split has letters, digits and _, such as codeact")
        records = list(records_of(path))
        Random(what.seed).shuffle(records)
        _write_parquet(records, folder / "data", split)
        tables[split] = token_table(records, what.count_tokens)
        files[split] = f"data/{split}-*.parquet"
    facts = CardFacts(what.title, what.licence, tables, files, what.tokenizer, what.seed, _selection(what.selection))
    (folder / "README.md").write_text(card(facts), encoding="utf-8")
    return tables


def records_of(path: str) -> Iterator[dict[str, Any]]:
    """The records of a file as plain values, in their order.

    Raises:
        ValueError: the file is missing or empty, or a record cannot be read.
    """
    count = 0
    for place, item in read_records(resolve_records(path), ReadingSettings()):
        if not isinstance(item, Record):
            raise ValueError(
                f"{path}, line {place}: {item.detail}; `codeact records convert {path} --out FILE` writes those that "
                "can be read"
            )
        count += 1
        yield item.model_dump(include={"id", "source", "group", "conversations"})
    if not count:
        raise ValueError(f"{path}: it holds no record; give a file of records")


def _write_parquet(records: Sequence[dict[str, Any]], folder: Path, split: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    turn = pa.struct([("role", pa.string()), ("content", pa.string()), ("weight", pa.float64())])
    schema = pa.schema(
        [("id", pa.string()), ("source", pa.string()), ("group", pa.string()), ("conversations", pa.list_(turn))]
    )
    parts = -(-len(records) // RECORDS_PER_FILE)
    for part in range(parts):
        rows = records[part * RECORDS_PER_FILE : (part + 1) * RECORDS_PER_FILE]
        table = pa.Table.from_pylist(list(rows), schema=schema)
        pq.write_table(table, folder / f"{split}-{part:05d}-of-{parts:05d}.parquet", compression="zstd")


def _selection(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        content = None
    if not isinstance(content, dict) or "dropped" not in content:
        raise ValueError(f"--selection {path}: not a selection.json that `codeact select` wrote")
    return content
