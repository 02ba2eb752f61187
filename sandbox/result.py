"""The result of a cell, and the one exception of this package."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Status = Literal[
    "ok",
    "error",
    "timeout_interrupted",
    "timeout_killed",
    "died",
    "out_of_memory",
    "output_limit",
    "protocol_violation",
]


class SandboxError(RuntimeError):
    """The sandbox itself failed (no fork server, no kernel, a closed pool). Never raised for what a cell does."""


Stream = Literal["stdout", "stderr"]


class LateOutput(BaseModel):
    """Text that a thread, a task or a child of an earlier cell printed after that cell had ended."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cell: int | None
    """Number of the cell it came from, as in tracebacks (``<cell 3>``); None when that is not known."""
    stream: Stream
    text: str


class CellResult(BaseModel):
    """The result of one cell.

    All text is as a terminal shows it: escape sequences are removed, carriage returns and backspaces applied, so
    newline and tab are the only control characters; lone surrogates are escaped.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: Status
    """``ok``; ``error``: the cell raised; ``timeout_interrupted``: stopped at its time limit, state kept;
    ``timeout_killed``, ``died``, ``out_of_memory``: the process is gone; ``output_limit``: it printed or sent too much;
    ``protocol_violation``: the kernel sent malformed messages and was killed."""
    stdout: str = ""
    stderr: str = ""
    late: tuple[LateOutput, ...] = ()
    """Output of earlier cells that arrived since the last result. It is in no other field."""
    missing_chars: int | None = 0
    """Characters printed before the process died that no field holds; None when their number is not known."""
    missing: str = ""
    """A sentence about them; empty when there are none."""
    value: str | None = None
    """Text of the last expression, or None when it has no value."""
    error_name: str | None = None
    error_value: str | None = None
    traceback: str = ""
    """Frames of cells and workspace files only; ends with the exception itself."""
    outputs: tuple[dict[str, Any], ...] = ()
    """Rich outputs as mime bundles (``{"image/png": base64, "text/plain": …}``), in order."""
    seconds: float = 0.0
    """Wall time from the request to the result."""
    state_survived: bool = True
    """False when the process is gone: the next cell runs in a fresh kernel with the initial tools and files."""
    rolled_back: bool = False
    """True when the process is gone and its checkpoint replaced it: state and files are as before this cell."""
    received_bytes: int = 0
    """Bytes the kernel sent for this cell, protocol included; more than the result holds when output was cut."""
    tool_calls: int = 0
    """Calls of host functions the cell made."""
