"""Writes the general mixture: the parts that are here, each through its rule, as one file of records.

Contract: the file appears complete or not at all. A part comes from the files that a person names, else from those
below a data root; a name such as ``owner/name:train`` is a split that ``datasets`` loads. The same files and seed give
the same file, byte for byte. Cost: one pass over each file; the records of a part before it is sampled are in memory.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from codeact_train import read_lines
from launch.inputs.convert_records import open_text
from launch.mixture.parts import PARTS, Part
from launch.mixture.steps import Row, Steps
from rollout import atomic_file

Keep = Callable[[dict[str, Any]], bool]


@dataclass(frozen=True)
class BuiltPart:
    """A part that was written: rows read, records left after each filter, records written, and those of the paper."""

    name: str
    read: int
    left: dict[str, int]
    kept: int
    published: int


class _Rows:
    """The rows of the inputs of a part, counted."""

    def __init__(self, inputs: Sequence[str]) -> None:
        self._inputs = inputs
        self.count = 0

    def __iter__(self) -> Iterator[Row]:
        for given in self._inputs:
            for row in _rows(given):
                self.count += 1
                yield row


def build_mixture(
    given: Mapping[str, Sequence[str]], out: Path, *, data_root: Path | None = None, seed: int = 42,
    keep: Keep | None = None,
) -> tuple[list[BuiltPart], dict[str, str]]:  # fmt: skip
    """Writes the records of the parts to ``out``, compressed if its name ends in ``.gz``.

    Args:
        given: part → its files or splits.
        out: file to write; one that exists is replaced.
        data_root: folder with the files of parts that are not given.
        seed: seed of the samples.
        keep: a further filter of records before the sample, such as one by language.

    Returns:
        The parts that were written, and for each part that is not on this machine where to get it.

    Raises:
        ValueError: a part does not exist, a file cannot be read, or no part is on this machine.
    """
    if unknown := sorted(set(given) - set(PARTS)):
        raise ValueError(f"{unknown[0]}=...: no such part; choose from {', '.join(PARTS)}")
    inputs = {name: list(given.get(name) or _below(part, data_root)) for name, part in PARTS.items()}
    missing = missing_parts(data_root, set(given))
    if len(missing) == len(PARTS):
        first = next(iter(missing.values()))
        raise ValueError(f"no part of the mixture is in {data_root}; name one, such as openorca=FILE, or get {first}")
    built = []
    with atomic_file(out) as unfinished, open_text(unfinished, out) as lines:
        for name, found in inputs.items():
            if found:
                built.append(_write_part(name, found, seed, keep, lines))
    return built, missing


def missing_parts(data_root: Path | None, given: Collection[str] = ()) -> dict[str, str]:
    """The parts that are neither given nor below the data root, each with where to get it."""
    absent = [name for name, part in PARTS.items() if name not in given and not _below(part, data_root)]
    return {name: _where(PARTS[name]) for name in absent}


def _write_part(name: str, inputs: Sequence[str], seed: int, keep: Keep | None, lines: IO[str]) -> BuiltPart:
    rows, steps = _Rows(inputs), Steps()
    part = PARTS[name]
    found = list(part.rule(rows, steps))
    records = steps.sampled(steps.through("language", found, keep) if keep else found, part.sample, seed)
    if not records:
        counted = ", ".join(f"{left} left: {rule}" for rule, left in steps.left.items())
        raise ValueError(
            f"{name}={', '.join(inputs)}: none of its {rows.count} rows is kept ({counted}); check that these are the "
            "files of this part, or leave it out"
        )
    for record in records:
        lines.write(json.dumps(record, ensure_ascii=False) + "\n")
    return BuiltPart(name, rows.count, steps.left, len(records), part.published)


def _below(part: Part, root: Path | None) -> list[str]:
    """The files of a part below a data root, compressed or not; none unless all are there."""
    if root is None:
        return []
    found = [next((p for p in (root / name, root / f"{name}.gz") if p.is_file()), None) for name in part.files]
    return [str(path) for path in found if path is not None] if None not in found else []


def _where(part: Part) -> str:
    return f"{', '.join(part.files)} below the data root ({', '.join(part.addresses)})"


def _rows(given: str) -> Iterator[Row]:
    path = Path(given).expanduser()
    name, colon, split = given.rpartition(":")
    if not path.exists() and colon:
        yield from _from_data_set(name, split)
        return
    for _, raw in read_lines(path):
        try:
            row = json.loads(raw)
        except ValueError:
            row = None
        yield row if isinstance(row, dict) else {}  # dropped and counted by the first filter of its rule


def _from_data_set(name: str, split: str) -> Iterator[Row]:
    from datasets import load_dataset  # slow to import

    try:
        rows = load_dataset(name, split=split)
    except Exception as error:  # datasets and the hub client raise many types
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{name}:{split}: cannot be loaded ({reason}); check the name, or give a file") from error
    yield from map(dict, rows)
