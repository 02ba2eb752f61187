"""The rows of Parquet and Arrow files, and of folders that ``datasets`` has saved, as JSON.

Contract: a file is recognised by its first bytes, a folder by the file that ``save_to_disk`` writes. Rows come in
order, each as a JSON object with the columns as keys; values that JSON has no form for become text. Cost: one batch of
rows in memory, for Parquet one row group. The module does not interpret the rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from codeact_train.data.records.streams import first_bytes

if TYPE_CHECKING:
    import pyarrow

_MAGIC = {b"PAR1": "Parquet", b"ARROW1": "Arrow", b"\xff\xff\xff\xff": "Arrow"}
_ROWS = 256
_STATE = "state.json"
_SPLITS = "dataset_dict.json"


def table_form(path: Path) -> str | None:
    """``"Parquet"`` or ``"Arrow"``; ``None`` for a file of another form."""
    head = first_bytes(path)
    return next((form for magic, form in _MAGIC.items() if head.startswith(magic)), None)


def saved_files(folder: Path) -> list[Path]:
    """The Arrow files of a data set that ``save_to_disk`` wrote; none for another folder."""
    state = folder / _STATE
    if not state.is_file():
        return []
    try:
        return [folder / one["filename"] for one in json.loads(state.read_text(encoding="utf-8"))["_data_files"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{state}: not the state of a saved data set ({error!r}); save it again") from error


def saved_splits(folder: Path) -> list[str]:
    """The splits of a ``DatasetDict`` that ``save_to_disk`` wrote; none for another folder."""
    listing = folder / _SPLITS
    return list(json.loads(listing.read_text(encoding="utf-8"))["splits"]) if listing.is_file() else []


def table_rows(path: Path, read: Callable[[int], None]) -> Iterator[bytes]:
    """The rows of a table as JSON; ``read`` receives the position in the file after each batch.

    Raises ``ValueError`` when the file is damaged.
    """
    import pyarrow

    try:
        with path.open("rb") as file, _batches(path, file) as batches:
            for batch in batches:
                read(file.tell())
                for row in batch.to_pylist():
                    yield json.dumps(row, ensure_ascii=False, default=str).encode() + b"\n"
    except (pyarrow.ArrowException, OSError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path}: cannot be read as {table_form(path)} ({first}); fetch or write it again") from error


@contextmanager
def _batches(path: Path, file: object) -> Iterator[Iterator[pyarrow.RecordBatch]]:
    import pyarrow
    import pyarrow.parquet

    head = first_bytes(path)
    if head.startswith(b"PAR1"):
        yield pyarrow.parquet.ParquetFile(file).iter_batches(batch_size=_ROWS)
    elif head.startswith(b"ARROW1"):
        reader = pyarrow.ipc.open_file(file)
        yield (reader.get_batch(index) for index in range(reader.num_record_batches))
    else:
        yield iter(pyarrow.ipc.open_stream(file))
