"""DBBench of AgentBench: questions about a table in a database, and changes of it (arXiv 2308.03688, section 3.2).

The database is sqlite in the kernel; every column is TEXT, as in the original, which runs MySQL. A change is judged by
the whole table: when the model says that it is done, its kernel hands the database over to a fresh one, which prints
the digest of the rows. The grader compares it with that of the published statement's result.
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from rollout.families.base import Demonstration, Snapshot, Task
from rollout.families.data import DataFamily, DataRoot, DataSource, FamilyInfo, Refused
from rollout.families.wikitablequestions.table import distinct_names, quoted, sqlite_setup

_GITHUB = "https://raw.githubusercontent.com/THUDM/AgentTuning/main/AgentBench.old/data/dbbench"
_CHANGES = ("INSERT", "UPDATE", "DELETE")
_QUESTION = """{description}
{table}
It is in a sqlite database; `conn` is the open sqlite3 connection. Every column is TEXT.
Answer with the value, or with a Python list of values when there are several; with `none` when there is none."""
_CHANGE = """{description}
{table}
It is in a sqlite database; `conn` is the open sqlite3 connection. Every column is TEXT.
Change the table with SQL. Then answer `done`: the table is looked at, not the answer."""
_CHECK = """def _table_digest():
    import hashlib, json
    rows = [[None if v is None else str(v) for v in row] for row in conn.execute({query!r})]
    return hashlib.sha256(json.dumps(sorted(map(json.dumps, rows))).encode()).hexdigest()
print(_table_digest())"""
_SNAPSHOT = Snapshot(
    take="conn.serialize()",
    restore="import sqlite3\nconn = sqlite3.connect(':memory:')\nconn.deserialize(snapshot)",
)


class DbBench(DataFamily):
    """One task a row of AgentBench's files; its kind is the original's type, such as ``INSERT`` or ``counting``."""

    name: ClassVar[str] = "dbbench"
    info: ClassVar[FamilyInfo] = FamilyInfo(
        title="DBBench of AgentBench (Liu et al., 2023)",
        licence="Apache-2.0",
        splits={"standard": "300 tasks, the test", "dev": "60 tasks"},
        sources={
            split: (
                DataSource(
                    (f"agentbench_db/{split}.jsonl.gz", f"agentbench_db/{split}.jsonl"), f"{_GITHUB}/{split}.jsonl"
                ),
            )
            for split in ("standard", "dev")
        },
        grader="sql_result",
        defects=(
            "The published digest of a changed table holds 20 bits a row, at most 170 rows and no NULL. Ours is made "
            "from every value, by running the published statement; the published digest is that of the same table for "
            "239 of the 240 changes (not for `standard-225`).",
            "The statements are MySQL: escapes with a backslash, a table's name that begins with a digit, comparison "
            "without case and accents. They are translated.",
            "Two tables have two columns of one name (the second is named Score.1), one has a row that is too short "
            "(filled with NULL), one an empty row (left out).",
            "Many of the published queries of questions are wrong; only their labels are used.",
        ),
    )

    def read(self, split: str, root: DataRoot) -> Iterator[Task | Refused]:
        (source,) = self.info.sources[split]
        for number, row in enumerate(root.rows(source)):
            name = f"{split}-{number}"
            if not row["label"]:
                yield Refused(name, "no answer")
                continue
            table = InlineTable(row["table"])
            try:
                change = table.change(row["label"][0]) if row["type"][0] in _CHANGES else None
            except sqlite3.Error:
                yield Refused(name, "its statement does not run")
                continue
            yield self._task(split, name, row, table, change)

    def _task(
        self, split: str, name: str, row: Mapping[str, Any], table: InlineTable, change: tuple[str, str] | None
    ) -> Task:
        statement, digest = change or (None, None)
        columns = ", ".join(table.columns)
        answer = {"labels": row["label"], "type": row["type"][0], "hash": digest}
        return self.task(
            split,
            name,
            kind=row["type"][0],
            prompt=(_CHANGE if change else _QUESTION).format(
                description=row["description"].strip(),
                table=f"The table `{table.name}` has {len(table.rows)} rows; its columns are: {columns}.",
            ),
            answer=answer,
            setup=sqlite_setup(table.name, [(column, "TEXT") for column in table.columns], table.rows),
            check=_CHECK.format(query=table.query) if change else "",
            snapshot=_SNAPSHOT if change else None,
            expert=partial(_demonstrate, statement) if statement else None,
        )


class InlineTable:
    """The table of a row: its name, columns with different names, and rectangular rows of texts."""

    def __init__(self, table: Mapping[str, Any]) -> None:
        self.name: str = table["table_name"]
        self.columns = distinct_names([column["name"] for column in table["table_info"]["columns"]])
        width = len(self.columns)
        rows = [row for row in table["table_info"]["rows"] if row]
        self.rows = [tuple([*row, *[None] * width][:width]) for row in rows]

    @property
    def query(self) -> str:
        """Reads every row."""
        return f"SELECT * FROM {quoted(self.name)}"

    def change(self, statement: str) -> tuple[str, str]:
        """A published statement in sqlite's words (empty when only MySQL's comparison gives its result), and the digest
        of the table after it.

        Raises:
            sqlite3.Error: the statement does not run.
        """
        translated = to_sqlite(statement)
        digest, plain = (self._after(translated, collation) for collation in ("mysql", "binary"))
        return translated if plain == digest else "", digest

    def _after(self, statement: str, collation: str) -> str:
        connection = sqlite3.connect(":memory:")
        try:
            connection.create_collation("mysql", _compare)
            columns = ", ".join(f"{quoted(column)} TEXT COLLATE {collation}" for column in self.columns)
            connection.execute(f"CREATE TABLE {quoted(self.name)} ({columns})")
            places = ", ".join("?" * len(self.columns))
            connection.executemany(f"INSERT INTO {quoted(self.name)} VALUES ({places})", self.rows)
            connection.execute(statement)
            return digest_of_rows(connection.execute(self.query).fetchall())
        finally:
            connection.close()


def digest_of_rows(rows: Sequence[Sequence[Any]]) -> str:
    """SHA-256 of rows in any order, each value as its text; the same as the code in the kernel."""
    texts = [[None if value is None else str(value) for value in row] for row in rows]
    return hashlib.sha256(json.dumps(sorted(map(json.dumps, texts))).encode()).hexdigest()


_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "'": "''"}


def to_sqlite(statement: str) -> str:
    """A statement of MySQL without its escapes and with a quoted name where it begins with a digit."""
    plain = re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), statement)
    return re.sub(r"^(INSERT\s+INTO|UPDATE|DELETE\s+FROM)\s+(\d\w*)", r'\1 "\2"', plain, flags=re.IGNORECASE)


def _compare(one: str, other: str) -> int:
    """MySQL's default comparison: case, accents and spaces at the end do not count."""
    first, second = _folded(one), _folded(other)
    return (first > second) - (first < second)


def _folded(text: str) -> str:
    signs = unicodedata.normalize("NFKD", text)
    return "".join(sign for sign in signs if not unicodedata.combining(sign)).casefold().rstrip()


def _demonstrate(statement: str, make_mistake: bool) -> Demonstration:
    """Runs the published statement."""
    if make_mistake:
        yield 'I change the table.\n<execute>\nconn.execute("UPDATE nothing SET x = 1")\n</execute>'
    yield f"I change the table.\n<execute>\nprint(conn.execute({statement!r}).rowcount)\nconn.commit()\n</execute>"
    yield "<solution>done</solution>"


generate = DbBench()
