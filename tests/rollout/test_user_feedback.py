"""Feedback of a simulated user: MINT's four kinds, from the judge's engine."""

from dataclasses import dataclass
from typing import ClassVar

import pytest

from rollout import EpisodeProtocol, Sampling, Trajectory, run_episode
from rollout.engines.base import Engine
from rollout.engines.judge import Judge, JudgeSpec
from rollout.families import Task
from tests.helpers.episodes import Says
from tests.helpers.fake_server import NoKernels


@dataclass(frozen=True)
class User:
    """Describes the judge's engine; ``says`` is the one engine that is built."""

    says: Says
    name: ClassVar[str] = "user"
    shared: ClassVar[bool] = True

    def build(self, task: Task) -> Engine:
        return self.says


async def episode(kind: dict[str, object], says: Says) -> Trajectory:
    task = Task("f", "k", "test", "test", "1", "How much is 3 * 4?", "12", "number")
    values = {"extends": "m3tooleval-json", "user_feedback": kind}
    judge = Judge(JudgeSpec(User(says)))
    engine = Says("Answer: 11", "Answer: 13", "Answer: 12")
    protocol = EpisodeProtocol.model_validate(values)
    try:
        return await run_episode(task, engine, NoKernels(), protocol, Sampling(), judge=judge)
    finally:
        judge.close()


@pytest.mark.parametrize("reference", [False, True])
@pytest.mark.parametrize(
    ("form", "said", "shown"),
    [
        ("textual", ("Too small. ", "Too large."), ("Too small.", "Too large.")),
        ("binary", ("GOOD!", "I would say bad"), ("This is good.", "This is bad.")),
    ],
)
async def test_each_reply_that_goes_on_ends_with_feedback(
    form: str, said: tuple[str, ...], shown: tuple[str, ...], reference: bool
) -> None:
    says = Says(*said)
    done = await episode({"form": form, "reference": reference}, says)
    assert done.outcome.reason == "solved"
    replies = [message.content for message in done.messages if message.kind == "feedback"]
    assert replies == [f"The answer is not right. Try again.\nFeedback:\n{text}" for text in shown]
    assert done.judge is not None and done.judge.calls == 2
    asked = [messages[-1].content for messages in says.seen]
    assert all(("The right answer" in question) == reference for question in asked)
    assert "Feedback:\nToo small." in asked[1] or form == "binary"


def test_feedback_is_part_of_the_digest_and_needs_a_judge() -> None:
    digests = {
        EpisodeProtocol.model_validate({"user_feedback": kind}).ref.digest
        for kind in (None, {}, {"form": "binary"}, {"reference": True}, {"form": "binary", "reference": True})
    }
    assert len(digests) == 5
    assert EpisodeProtocol.model_validate({"user_feedback": {}}).needs_judge
