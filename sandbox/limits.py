"""What one kernel may use. Every figure is a hard limit; ``sandbox.probe`` reports what a tier cannot enforce."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Limits(BaseModel):
    """Budgets of one kernel and of one cell."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    memory_mib: int = Field(1024, ge=64)
    """Memory a kernel may allocate on top of the pages it shares with its siblings."""
    cell_timeout_s: float = Field(30.0, gt=0)
    """Time limit of a cell when ``run`` gets no ``timeout_s``."""
    interrupt_grace_s: float = Field(1.0, gt=0)
    """Time between the interrupt at the time limit and the kill; a second interrupt is sent half way, and at three
    quarters the programs that the cell has started are killed."""
    output_chars: int = Field(10_000, ge=200)
    """Characters kept of each stream, of the value and of the traceback: head and tail, a marker between them."""
    printed_mib: int = Field(64, ge=1)
    """Output, kept or not, after which a cell is stopped with ``output_limit``."""
    rich_output_kib: int = Field(4096, ge=0)
    """Size of all rich outputs (pictures, HTML) of one cell together."""
    cpus: float | None = Field(None, ge=0.01)
    """Processor seconds per second of wall time, over all processes of a kernel; None: unlimited. Needs tier T3 and a
    processor cgroup, otherwise an error."""
    processes: int = Field(64, ge=4)
    """Processes and threads of one kernel, itself included."""
    open_files: int = Field(256, ge=64)
    """File descriptors of one process in the kernel."""
    workspace_mib: int = Field(256, ge=1)
    """Size of the workspace, and of each single file."""
    workspace_inodes: int = Field(10_000, ge=100)
    """Files and folders in the workspace."""
    tool_calls_per_cell: int = Field(256, ge=0)
    """Calls of host functions one cell may make."""
    tool_message_kib: int = Field(1024, ge=1)
    """Size of the arguments of one tool call, and of its result, as JSON."""
    connections: int = Field(16, ge=1)
    """Connections to listed hosts at one time; further ones wait."""
    transfer_mib: int = Field(1024, ge=1)
    """Bytes over all connections to listed hosts in a kernel's life, both directions together."""

    @property
    def requires(self) -> frozenset[str]:
        """Properties of the probe that these limits need enforced."""
        return frozenset({"cpu"} if self.cpus is not None else ())
