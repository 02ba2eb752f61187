"""Asks an engine for one text: the judge of answers by a rubric and of simulated user feedback.

Contract: :func:`ask` sends a conversation to an engine and returns its text. A :class:`Judge` builds its engine when it
is first asked and runs it on an event loop in a thread of its own, so that graders (plain functions) and environments
(coroutines) use the same one. :func:`judging` makes a judge the current one for the code within; :func:`current_judge`
finds it. What the judge reads and writes is counted in :class:`JudgeUsage`, apart from the usage of the episode. It
does not word the question; the caller does.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from rollout.bank.trajectory import JudgeUsage, Message, Sampling, digest_of
from rollout.engines.base import Completion, Engine
from rollout.engines.spec import EngineSpec
from rollout.families.base import Task

JUDGE_SAMPLING = Sampling(max_tokens=512)
"""Greedy, and long enough for a reason and a verdict."""
_NO_TASK = Task("", "", "", "", "", "", "", "")


@dataclass(frozen=True)
class JudgeSpec:
    """A picklable description of a judge: an engine, and how its answers are drawn."""

    engine: EngineSpec
    sampling: Sampling = JUDGE_SAMPLING

    @property
    def name(self) -> str:
        """Stored with every trajectory that it may have judged, and part of its id."""
        return self.engine.name


async def ask(
    engine: Engine, messages: Sequence[Message], sampling: Sampling | None = None, *, session: str | None = None
) -> Completion:
    """The engine's reply to a conversation.

    Args:
        messages: ends with a user turn.
        sampling: by default greedy, 512 tokens.
        session: conversations of one session share a server; by default each conversation is its own.

    Raises:
        EngineError: there is no reply; its kind says whether another attempt can help.
    """
    session = session or digest_of([message.content for message in messages])
    return await engine.complete(messages, sampling or JUDGE_SAMPLING, session=session)


@dataclass
class _Counter:
    """What the judge has used for one episode. Threads that are started for the episode share it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    usage: JudgeUsage = field(default_factory=JudgeUsage)

    def add(self, completion: Completion) -> None:
        with self.lock:
            self.usage = JudgeUsage(
                model=self.usage.model,
                calls=self.usage.calls + 1,
                prompt_tokens=self.usage.prompt_tokens + completion.prompt_tokens,
                completion_tokens=self.usage.completion_tokens + completion.completion_tokens,
            )


class Judge:
    """An engine that judges. Safe to use from threads and from any event loop."""

    def __init__(self, spec: JudgeSpec) -> None:
        self.spec = spec
        self._engine: Engine | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def ask(self, messages: Sequence[Message]) -> str:
        """The text of the reply; blocks until it is there. For graders, which are plain functions.

        Raises:
            EngineError: there is no reply.
            ValueError: an environment variable with the key is not set.
        """
        return self._counted(self._submit(self._complete(messages)).result())

    async def ask_async(self, messages: Sequence[Message]) -> str:
        """As :meth:`ask`, for coroutines: the event loop goes on while the judge thinks."""
        return self._counted(await asyncio.wrap_future(self._submit(self._complete(messages))))

    def close(self) -> None:
        """Closes the connections and ends the thread; those who wait for a reply get ``CancelledError``."""
        with self._starting:
            loop, thread = self._loop, self._thread
            if loop is None or thread is None:
                return
            asyncio.run_coroutine_threadsafe(_end_others(), loop).result()
            if self._engine is not None:
                asyncio.run_coroutine_threadsafe(self._engine.close(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()
            self._engine = self._loop = self._thread = None

    async def _complete(self, messages: Sequence[Message]) -> Completion:
        if self._engine is None:  # here, because an HTTP client belongs to the loop that made it
            self._engine = self.spec.engine.build(_NO_TASK)
        return await ask(self._engine, messages, self.spec.sampling)

    def _submit(self, work: Coroutine[Any, Any, Completion]) -> Future[Completion]:
        with self._starting:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="judge", daemon=True)
                self._thread.start()
            return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _counted(self, completion: Completion) -> str:
        if (counter := _counter.get()) is not None:
            counter.add(completion)
        return completion.text


async def _end_others() -> None:
    """Cancels every other task of the running loop, so that no thread waits for it for ever."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for one in others:
        one.cancel()
    await asyncio.gather(*others, return_exceptions=True)


_current: ContextVar[Judge | None] = ContextVar("judge", default=None)
_counter: ContextVar[_Counter | None] = ContextVar("judge_usage", default=None)


@contextmanager
def judging(judge: Judge | None) -> Iterator[None]:
    """Makes ``judge`` the current one, and counts what it uses within; tasks and ``asyncio.to_thread`` inherit it."""
    counter = _Counter(usage=JudgeUsage(model=judge.spec.name)) if judge else None
    before = _current.set(judge), _counter.set(counter)
    try:
        yield
    finally:
        _current.reset(before[0])
        _counter.reset(before[1])


def current_judge() -> Judge:
    """The judge of the running episode or command.

    Raises:
        ValueError: none is configured.
    """
    judge = _current.get()
    if judge is None:
        raise ValueError("judge.engine=null: answers by rubric and simulated feedback need a judge; name an engine")
    return judge


def judge_usage() -> JudgeUsage | None:
    """What the current judge has used within :func:`judging`; None when there is no judge or it was not asked."""
    counter = _counter.get()
    return counter.usage if counter is not None and counter.usage.calls else None
