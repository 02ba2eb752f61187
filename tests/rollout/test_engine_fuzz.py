"""No answer of a server ends a collection: fuzzed replies through the client, an episode and the bank's form.

``python -m pytest -m slow tests/rollout/test_engine_fuzz.py`` tries 100,000 of them.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from random import Random

import httpx2
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from rollout.bank.trajectory import Message, Sampling, Trajectory
from rollout.engines import Completion, EngineError
from rollout.engines.openai_client import OpenAIEngine
from rollout.episode.loop import run_episode
from rollout.protocol import EpisodeProtocol
from tests.helpers.fake_server import SOLUTION, TASK, Answers, NoKernels, answer, chat_reply, engine_on, token_reply
from tests.helpers.odd_replies import bodies, in_odd_form

BODIES, FORMS = 10, 10
"""Bodies of an example, and forms in which each arrives; every answer goes to an episode of its own."""
SAMPLING = Sampling(stop=("</execute>", "</solution>"))


class Checked:
    """An engine that notes exceptions other than those that engines may raise."""

    name = "e"

    def __init__(self, engine: OpenAIEngine) -> None:
        self._engine, self.strange = engine, list[BaseException]()

    async def complete(self, messages: Sequence[Message], sampling: Sampling, *, session: str) -> Completion:
        try:
            return await self._engine.complete(messages, sampling, session=session)
        except EngineError:
            raise
        except BaseException as fault:
            self.strange.append(fault)
            raise

    async def close(self) -> None:
        await self._engine.close()


async def episodes(tokens: bool, replies: Sequence[httpx2.Response], seen: Counter[str]) -> None:
    """An episode for each reply; the turn after it is a right answer."""
    right = answer((token_reply if tokens else chat_reply)(SOLUTION))
    transport = Answers(right)
    engine = Checked(engine_on(transport, tokens=tokens))
    for reply in replies:
        transport.waiting.clear()
        transport.waiting.extend([reply, right])
        done = await run_episode(TASK, engine, NoKernels(), EpisodeProtocol(), SAMPLING)
        assert engine.strange == []
        line = done.model_dump_json().encode()
        assert Trajectory.model_validate_json(line).model_dump_json().encode() == line
        error = done.outcome.error
        seen[error.kind if error else done.outcome.reason] += 1
    await engine.close()


def try_replies(count: int, tokens: bool) -> Counter[str]:
    seen: Counter[str] = Counter()
    with asyncio.Runner() as runner:

        @settings(
            max_examples=count // (BODIES * FORMS),
            derandomize=True,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(st.lists(bodies(tokens), min_size=BODIES, max_size=BODIES), st.integers(0, 2**32))
        def attempt(drawn: list[bytes], seed: int) -> None:
            random = Random(seed)
            replies = [in_odd_form(body, random) for body in drawn for _ in range(FORMS)]
            runner.run(episodes(tokens, replies, seen))

        attempt()
    return seen


@pytest.mark.parametrize("tokens", [False, True], ids=["messages", "tokens"])
def test_no_answer_ends_a_collection(tokens: bool) -> None:
    seen = try_replies(500, tokens)
    assert seen.total() >= 500
    # rarer outcomes depend on the draw, and hypothesis draws from the constants of all modules loaded so far
    assert {"infra", "solved"} <= set(seen), seen


@pytest.mark.slow
@pytest.mark.parametrize("tokens", [False, True], ids=["messages", "tokens"])
def test_fifty_thousand_answers_on_each_route_end_no_collection(tokens: bool) -> None:
    seen = try_replies(50_000, tokens)
    print(f"{seen.total()} replies: {dict(seen)}")
    assert seen.total() >= 50_000
