"""The log of a kernel: what was done to it and what came of it, enough to come to the same state on another machine.

Contract: a :class:`Log` is a list of records, one JSON object a line in text. Of each cell it keeps the code, what the
tools answered and a digest of the outcome: status, streams, value, error and outputs, without what differs from run to
run and means nothing (seconds, addresses of objects). Costs microseconds a cell; files are kept whole.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from sandbox.host.connection import plain_json
from sandbox.result import CellResult, Status
from sandbox.tools.invoke import Answer
from sandbox.validation import format_errors

ADDRESS = re.compile(r"\b0x[0-9a-f]{6,16}\b")
SURROGATE = re.compile("[\ud800-\udfff]")
"""JSON does not hold it alone. No cell with one in it has run, nor does one with a NUL in its place."""
COMPARED = {"status", "stdout", "stderr", "value", "error_name", "error_value", "traceback", "outputs"}


class _Form(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        ser_json_bytes="base64",
        val_json_bytes="base64",
        ser_json_inf_nan="constants",
    )


class Call(_Form):
    """One call of a tool."""

    name: str
    arguments: Any
    answer: dict[str, Any]
    """``{"result": …}`` or ``{"error": {"type", "message"}}``."""


class Start(_Form):
    """What the kernel began with, and begins with again when its state is lost."""

    kind: Literal["start"] = "start"
    seed: int | None
    tools: tuple[str, ...]
    files: dict[str, bytes]


class CellDone(_Form):
    """A cell and what it came to."""

    kind: Literal["cell"] = "cell"
    code: str
    timeout_s: float | None
    status: Status
    digest: str
    calls: tuple[Call, ...]
    end: Literal["kept", "rolled_back", "lost"]
    """What became of the state: changed by the cell, as before it, or that of a fresh kernel."""


class FilePut(_Form):
    """A file the host put into the workspace."""

    kind: Literal["put"] = "put"
    path: str
    data: bytes


class Seeded(_Form):
    """New seeds for the random generators, as a branch gets them."""

    kind: Literal["seed"] = "seed"
    seed: int


class Restarted(_Form):
    """The state was given up on request."""

    kind: Literal["restart"] = "restart"


Record = Annotated[Start | CellDone | FilePut | Seeded | Restarted, Field(discriminator="kind")]
_RECORD: TypeAdapter[Record] = TypeAdapter(Record)


class Log:
    """Records in order; the first is the :class:`Start`."""

    def __init__(self, start: Start, records: Iterable[Record] = ()) -> None:
        self.start, self.records = start, list(records)

    @classmethod
    def begin(cls, seed: int | None, tools: Iterable[str], files: Mapping[str, bytes]) -> Log:
        """The log of a kernel that has just begun."""
        return cls(Start(seed=seed, tools=tuple(tools), files=dict(files)))

    def dumps(self) -> str:
        """As text, one record a line."""
        return "".join(f"{record.model_dump_json()}\n" for record in (self.start, *self.records))

    @classmethod
    def loads(cls, text: str) -> Log:
        """From the text. Raises ValueError for what is no log."""
        records = [_record(number, line) for number, line in enumerate(text.removesuffix("\n").split("\n"), 1)]
        if not records or not isinstance(start := records[0], Start):
            raise ValueError("log: the first line is no start record; give the whole text of a log")
        return cls(start, records[1:])

    def living(self) -> list[Record]:
        """The records the state now depends on: since it was lost for the last time, without what was rolled back."""
        records: list[Record] = []
        for record in self.records:
            if isinstance(record, Restarted) or (isinstance(record, CellDone) and record.end == "lost"):
                records = []
            elif not isinstance(record, CellDone) or record.end == "kept":
                records.append(record)
        return records


def _record(number: int, line: str) -> Record:
    try:
        return _RECORD.validate_json(line)
    except ValidationError as error:
        told = format_errors(f"log: line {number}: ", error).splitlines()[0]
        raise ValueError(f"{told}; give the whole text of a log") from None


class Recorder:
    """Writes the log of one kernel; stands between its cells and the tools."""

    def __init__(self, log: Log, answer: Answer) -> None:
        self.log = log
        self.known: deque[Call] | None = None
        """While a cell is repeated: the answers it gets instead of calling."""
        self._answer, self._calls = answer, list[Call]()

    async def answer(self, name: str, arguments: Any) -> dict[str, Any]:
        """Answers a call, and keeps the answer; the cell gets no other than a log can hold."""
        kept = plain_json(arguments)
        answer = await self._answer(name, arguments) if self.known is None else self._answer_again(name, kept)
        answer = plain_json(answer, finite=False)
        self._calls.append(Call(name=plain_json(name), arguments=kept, answer=answer))
        return answer

    def cell(self, code: str, timeout_s: float | None, result: CellResult) -> None:
        """A cell has ended."""
        calls, self._calls = tuple(self._calls), []
        end: Literal["kept", "rolled_back", "lost"] = "kept" if result.state_survived else "lost"
        end = "rolled_back" if result.rolled_back else end
        digest = digest_of(result)
        done = CellDone(
            code=SURROGATE.sub("\0", code),
            timeout_s=timeout_s,
            status=result.status,
            digest=digest,
            calls=calls,
            end=end,
        )
        self.log.records.append(done)

    def cancelled(self, lost: bool) -> None:
        """A cell was given up by its caller; ``lost``: and the state with it."""
        self._calls = []
        if lost:
            self.restart()

    def put(self, path: str, data: bytes) -> None:
        """The host has put a file."""
        self.log.records.append(FilePut(path=path, data=data))

    def sow(self, seed: int) -> None:
        """The random generators have new seeds."""
        self.log.records.append(Seeded(seed=seed))

    def restart(self) -> None:
        """The state is given up."""
        self.log.records.append(Restarted())

    def branch(self) -> Recorder:
        """The recorder of a fork, with the same past."""
        return Recorder(Log(self.log.start, self.log.records), self._answer)

    def _answer_again(self, name: str, arguments: Any) -> dict[str, Any]:
        if self.known and (self.known[0].name, self.known[0].arguments) == (name, arguments):
            return self.known.popleft().answer
        self.known = deque()  # from here on the cell goes another way
        return {"error": {"type": "RuntimeError", "message": f"this call of {name}() is not in the log"}}


def digest_of(result: CellResult) -> str:
    """SHA-256 of what a cell came to, equal for equal outcomes."""
    told = json.dumps(result.model_dump(include=COMPARED), sort_keys=True)
    return hashlib.sha256(ADDRESS.sub("0x0", told).encode("ascii")).hexdigest()
