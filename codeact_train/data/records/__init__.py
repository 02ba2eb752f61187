"""Training records: reading them from the files that people have, one at a time.

``files`` finds the items of a file or folder, with ``streams`` (compression and encoding), ``values`` (JSON) and
``tables`` (Parquet, Arrow). ``parse`` makes a ``record`` of an item; ``turns`` and ``tools`` know the forms of a
conversation. Contract: every item of a source yields exactly one :class:`Record` or one :class:`Unreadable`. Cost: one
item in memory. ``docs/reference/files.md`` defines the form of a record and lists the others. The package does not
tokenise and does not compare records.
"""

from codeact_train.data.records.files import data_files, describe_form, read_lines, read_records, size_bytes
from codeact_train.data.records.parse import CONVERSATIONS, parse
from codeact_train.data.records.record import Record, RecordTurn, Unreadable
from codeact_train.data.records.streams import compression
from codeact_train.data.records.tables import saved_splits

__all__ = [
    "CONVERSATIONS",
    "Record",
    "RecordTurn",
    "Unreadable",
    "compression",
    "data_files",
    "describe_form",
    "parse",
    "read_lines",
    "read_records",
    "saved_splits",
    "size_bytes",
]
