"""Trajectories that no episode produced, and an engine that replies as scripted."""

from collections.abc import Sequence

from rollout.bank.trajectory import (
    CellOutcome,
    Message,
    Outcome,
    ProtocolRef,
    Sampling,
    TaskRef,
    Trajectory,
    Usage,
    trajectory_id,
)
from rollout.engines.base import Completion, EngineError

SERVICE_TOKEN = "a-token-of-these-tests"
"""Of the fixture ``service``."""


class Says:
    """An engine that says the given turns one after another, or raises those that are exceptions."""

    def __init__(self, *turns: str | Exception) -> None:
        self.name = "says"
        self.turns = list(turns)
        self.seen: list[tuple[Message, ...]] = []

    async def complete(self, messages: Sequence[Message], sampling: Sampling, *, session: str) -> Completion:
        self.seen.append(tuple(messages))
        if not self.turns:
            raise EngineError("model", "nothing left to say")
        turn = self.turns.pop(0)
        if isinstance(turn, Exception):
            raise turn
        return Completion(turn, None, None, prompt_tokens=10, completion_tokens=5, finish_reason="stop")

    async def close(self) -> None: ...


def record(number: int, *, success: bool = True, kind: str = "table", model: str = "m", fails: int = 0) -> Trajectory:
    """A trajectory of two cells; the first `fails` of them fail."""
    task = TaskRef(family="f", kind=kind, split="train", group="trained", id=f"t-{number}", digest=f"d{number}")
    sampling, protocol = Sampling(), ProtocolRef(name="p", digest="x")
    messages = [Message(role="system", kind="instruction", content="s"), Message(role="user", kind="task", content="t")]
    for cell in range(2):
        status = "error" if cell < fails else "ok"
        messages += [
            Message(role="assistant", kind="action", content=f"<execute>\nprint({number + cell})\n</execute>"),
            Message(role="user", kind="observation", content=str(number), cell=CellOutcome(status=status)),
        ]
    messages.append(Message(role="assistant", kind="proposal", content=f"<solution>{number}</solution>"))
    return Trajectory(
        id=trajectory_id(task, model, sampling, protocol, 0),
        task=task,
        model=model,
        sampling=sampling,
        protocol=protocol,
        messages=tuple(messages),
        outcome=Outcome(success=success, reward=float(success), reason="solved" if success else "wrong_answer"),
        usage=Usage(steps=3, cells=2, error_cells=fails, proposals=1),
        isolation="T3",
        seed=0,
        started_at="2026-01-01T00:00:00+00:00",
        wall_s=0.1,
    )


def scripted_episode(
    *turns: tuple[str, str, str | None],
    task: str = "1",
    family: str = "f",
    kind: str = "k",
    model: str = "m",
    success: bool = True,
    prompt: str = "Task:\nt",
    instructions: str = "s",
    seed: int = 0,
) -> Trajectory:
    """A trajectory of these turns, each a kind, a text and the status of its cell (None: no cell, or no reply)."""
    ref = TaskRef(family=family, kind=kind, split="train", group="train", id=task, digest=f"{family}-{task}")
    sampling, protocol = Sampling(), ProtocolRef(name="p", digest="x")
    messages = [
        Message(role="system", kind="instruction", content=instructions),
        Message(role="user", kind="task", content=prompt),
    ]
    for number, (what, text, status) in enumerate(turns, 1):
        messages.append(Message.model_validate({"role": "assistant", "kind": what, "content": text}))
        if number < len(turns):
            cell = CellOutcome(status=status) if status else None
            reply = "observation" if what == "action" else "feedback"
            messages.append(
                Message.model_validate({"role": "user", "kind": reply, "content": f"seen {number}", "cell": cell})
            )
    statuses = [status for what, _, status in turns[:-1] if what == "action"]
    return Trajectory(
        id=trajectory_id(ref, model, sampling, protocol, seed),
        task=ref,
        model=model,
        sampling=sampling,
        protocol=protocol,
        messages=tuple(messages),
        outcome=Outcome(success=success, reward=float(success), reason="solved" if success else "max_steps"),
        usage=Usage(
            steps=len(turns),
            cells=len(statuses),
            error_cells=sum(status != "ok" for status in statuses),
            proposals=sum(what == "proposal" for what, _, _ in turns),
            invalid=sum(what == "invalid" for what, _, _ in turns),
        ),
        isolation="T3",
        seed=seed,
        started_at="2026-01-01T00:00:00+00:00",
        wall_s=0.1,
    )
