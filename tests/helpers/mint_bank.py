"""Recorded runs of MINT as trajectories of a bank, without running them: for tests of what comes after the replay."""

import gzip
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rollout.bank.store import TrajectoryStore
from rollout.bank.trajectory import (
    CellOutcome,
    Message,
    Outcome,
    ProtocolRef,
    Sampling,
    TaskRef,
    Trajectory,
    Usage,
    digest_of,
    trajectory_id,
)

_RAISED = re.compile(r"^Cell In\[\d+\]|Traceback \(most recent call last\)", re.MULTILINE)


def runs_in(path: Path) -> Iterator[dict[str, Any]]:
    """The runs of a file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def bank_of(runs: Iterable[dict[str, Any]], bank: Path) -> Path:
    """Writes each run into a bank; whether a cell failed is read from its observation."""
    with TrajectoryStore(bank) as store:
        for run in runs:
            store.append(trajectory_of(run))
    return bank


def trajectory_of(run: dict[str, Any]) -> Trajectory:
    """A run as a trajectory."""
    task = TaskRef(
        family=run["task"], kind=run["task"], split="mint", group="mint", id=run["task_id"],
        digest=digest_of([run["task"], run["task_id"]]),
    )  # fmt: skip
    messages = [Message(role="system", kind="instruction", content="Solve the task in an <execute> cell.")]
    messages.append(Message(role="user", kind="task", content=run["messages"][0]["content"]))
    turns = run["messages"][1:]
    for place, turn in enumerate(turns):
        if turn["role"] == "user":
            continue
        reply = turns[place + 1]["content"] if place + 1 < len(turns) else None
        what = "action" if "<execute>" in turn["content"] else "invalid"
        what = "proposal" if "<solution>" in turn["content"] else what
        messages.append(Message.model_validate({"role": "assistant", "kind": what, "content": turn["content"]}))
        if reply is not None:
            failed = what == "action" and _RAISED.search(reply)
            cell = CellOutcome(status="error" if failed else "ok") if what == "action" else None
            messages.append(Message(role="user", kind="observation", content=reply, cell=cell))
    kinds = [message.kind for message in messages if message.role == "assistant"]
    cells = [message.cell for message in messages if message.cell]
    sampling, protocol = Sampling(), ProtocolRef(name="mint", digest="recorded")
    return Trajectory(
        id=trajectory_id(task, run["model"], sampling, protocol, 0),
        task=task,
        model=run["model"],
        sampling=sampling,
        protocol=protocol,
        messages=tuple(messages),
        outcome=Outcome(
            success=run["success"],
            reward=float(run["success"]),
            reason="solved" if run["success"] else "wrong_answer",
        ),
        usage=Usage(
            steps=len(kinds),
            cells=len(cells),
            error_cells=sum(cell.status != "ok" for cell in cells),
            proposals=kinds.count("proposal"),
            invalid=kinds.count("invalid"),
        ),
        isolation="none",
        seed=0,
        started_at="2026-01-01T00:00:00+00:00",
        wall_s=0.0,
    )
