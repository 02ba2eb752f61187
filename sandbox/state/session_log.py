"""The log of a kernel: what was done to it and with what results, enough to rebuild its state on another machine.

Contract: a :class:`SessionLog` is a list of records; in text, one JSON object per line. For each cell it keeps the
code, the answers of tools and a digest of the result: status, streams, value, error and outputs, without parts that
differ between equal runs (seconds, addresses of objects). Costs microseconds per cell; files are kept whole.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from sandbox.host.plain import plain_json
from sandbox.result import CellResult, Status
from sandbox.tools.invoke import Invoke
from sandbox.validation import format_errors

ADDRESS = re.compile(r"\b0x[0-9a-f]{6,16}\b")
SURROGATE = re.compile("[\ud800-\udfff]")
"""JSON cannot hold lone surrogates. Code with one cannot run, nor can code with the NUL that replaces it."""
COMPARED = {"status", "stdout", "stderr", "value", "error_name", "error_value", "traceback", "outputs"}


class _Base(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        ser_json_bytes="base64",
        val_json_bytes="base64",
        ser_json_inf_nan="constants",
    )


class Call(_Base):
    """One call of a tool."""

    name: str
    arguments: Any
    answer: dict[str, Any]
    """``{"result": …}`` or ``{"error": {"type", "message"}}``."""


class Start(_Base):
    """What the kernel started with, and starts with again when its state is lost."""

    kind: Literal["start"] = "start"
    seed: int | None
    tools: tuple[str, ...]
    files: dict[str, bytes]


class CellDone(_Base):
    """A cell and its result."""

    kind: Literal["cell"] = "cell"
    code: str
    timeout_s: float | None
    status: Status
    digest: str
    calls: tuple[Call, ...]
    end: Literal["kept", "rolled_back", "lost"]
    """The state afterwards: as the cell left it, as before the cell, or that of a fresh kernel."""


class FilePut(_Base):
    """A file the host put into the workspace."""

    kind: Literal["put"] = "put"
    path: str
    data: bytes


class Seeded(_Base):
    """New seeds for the random generators, for example those of a fork."""

    kind: Literal["seed"] = "seed"
    seed: int


class Restarted(_Base):
    """The state was discarded on request."""

    kind: Literal["restart"] = "restart"


Record = Annotated[Start | CellDone | FilePut | Seeded | Restarted, Field(discriminator="kind")]
_RECORD: TypeAdapter[Record] = TypeAdapter(Record)


class SessionLog:
    """Records in order; the first is the :class:`Start`."""

    def __init__(self, start: Start, records: Iterable[Record] = ()) -> None:
        self.start, self.records = start, list(records)

    @classmethod
    def begin(cls, seed: int | None, tools: Iterable[str], files: Mapping[str, bytes]) -> SessionLog:
        """The log of a kernel that has just started."""
        return cls(Start(seed=seed, tools=tuple(tools), files=dict(files)))

    def dumps(self) -> str:
        """As text, one record per line."""
        return "".join(f"{record.model_dump_json()}\n" for record in (self.start, *self.records))

    @classmethod
    def loads(cls, text: str) -> SessionLog:
        """From the text of :meth:`dumps`. Raises ValueError for other texts."""
        records = [_parse(number, line) for number, line in enumerate(text.removesuffix("\n").split("\n"), 1)]
        if not records or not isinstance(start := records[0], Start):
            raise ValueError("log: the first line is not a start record; give the whole text of a log")
        return cls(start, records[1:])

    def effective_records(self) -> list[Record]:
        """The records the current state depends on: those since it was last lost, except rolled-back cells."""
        records: list[Record] = []
        for record in self.records:
            if isinstance(record, Restarted) or (isinstance(record, CellDone) and record.end == "lost"):
                records = []
            elif not isinstance(record, CellDone) or record.end == "kept":
                records.append(record)
        return records


def _parse(number: int, line: str) -> Record:
    try:
        return _RECORD.validate_json(line)
    except ValidationError as error:
        message = format_errors(f"log: line {number}: ", error).splitlines()[0]
        raise ValueError(f"{message}; give the whole text of a log") from None


class Recorder:
    """Writes the log of one kernel; tool calls of its cells pass through :meth:`invoke`."""

    def __init__(self, log: SessionLog, invoke: Invoke) -> None:
        self.log = log
        self.replayed_calls: deque[Call] | None = None
        """During a replay: the recorded calls whose answers the cell gets, instead of new ones."""
        self._invoke, self._calls = invoke, list[Call]()

    async def invoke(self, name: str, arguments: Any) -> dict[str, Any]:
        """Answers and records a call. The cell gets the answer as the log can hold it."""
        recorded = plain_json(arguments)
        replay = self.replayed_calls is not None
        answer = self._replay(name, recorded) if replay else await self._invoke(name, arguments)
        answer = plain_json(answer, finite=False)
        self._calls.append(Call(name=plain_json(name), arguments=recorded, answer=answer))
        return answer

    def record_cell(self, code: str, timeout_s: float | None, result: CellResult) -> None:
        """Appends a cell that has ended, with the tool calls since the last one."""
        calls, self._calls = tuple(self._calls), []
        end: Literal["kept", "rolled_back", "lost"] = "kept" if result.state_survived else "lost"
        end = "rolled_back" if result.rolled_back else end
        done = CellDone(
            code=SURROGATE.sub("\0", code),
            timeout_s=timeout_s,
            status=result.status,
            digest=result_digest(result),
            calls=calls,
            end=end,
        )
        self.log.records.append(done)

    def record_cancelled(self, lost: bool) -> None:
        """Drops the calls of a cell its caller cancelled. ``lost``: the state was lost with it."""
        self._calls = []
        if lost:
            self.record_restart()

    def record_put(self, path: str, data: bytes) -> None:
        """Appends a file the host has put."""
        self.log.records.append(FilePut(path=path, data=data))

    def record_seed(self, seed: int) -> None:
        """Appends a seed."""
        self.log.records.append(Seeded(seed=seed))

    def record_restart(self) -> None:
        """Appends a restart."""
        self.log.records.append(Restarted())

    def fork(self, invoke: Invoke) -> Recorder:
        """The recorder of a forked kernel, whose tools ``invoke`` calls, with the same records so far."""
        return Recorder(SessionLog(self.log.start, self.log.records), invoke)

    def _replay(self, name: str, arguments: Any) -> dict[str, Any]:
        if self.replayed_calls and (self.replayed_calls[0].name, self.replayed_calls[0].arguments) == (name, arguments):
            return self.replayed_calls.popleft().answer
        self.replayed_calls = deque()  # the cell diverges from the log here
        return {"error": {"type": "RuntimeError", "message": f"this call of {name}() is not in the log"}}


def result_digest(result: CellResult) -> str:
    """SHA-256 of a cell's result, the same for equal results."""
    text = json.dumps(result.model_dump(include=COMPARED), sort_keys=True)
    return hashlib.sha256(ADDRESS.sub("0x0", text).encode("ascii")).hexdigest()
