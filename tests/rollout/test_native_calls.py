"""Native calls: tools offered to the server, its calls run as code would run them, results sent back."""

import json
from typing import Any

import pytest

from rollout import KernelSource, Sampling, run_episode
from rollout.bank.trajectory import Message, ToolCall, Trajectory
from rollout.engines.base import EngineError
from rollout.engines.tool_calls import calls_in, chat_messages
from tests.helpers.episodes import Says
from tests.helpers.fake_server import Answers, NoKernels, answer, calling, chat_reply, engine_on
from tests.rollout.test_protocols import protocol, task

ALONE = {"extends": "tools", "python_tool": False}


async def episode(server: Answers, values: Any, kernels: Any) -> tuple[Trajectory, list[dict[str, Any]]]:
    engine = engine_on(server)
    done = await run_episode(task(), engine, kernels, protocol(values), Sampling())
    await engine.close()
    return done, [json.loads(request.content) for request in server.seen]


async def test_calls_run_the_functions_and_every_call_gets_its_result() -> None:
    server = Answers(
        calling(("price", '{"thing": "apple", "count": 3}'), ("price", '{"thing": "moon"}'), text="I look."),
        calling(("buy", '{"things": ["a", "b"]}')),
        calling(("price", "{nonsense")),
        answer(chat_reply("7.5")),
    )
    done, asked = await episode(server, ALONE, NoKernels())
    assert done.outcome.reason == "solved"
    assert [tool["function"]["name"] for tool in asked[0]["tools"]] == ["price", "buy"]
    assert asked[0]["tools"][0]["function"]["parameters"]["required"] == ["thing"]
    assert [message["role"] for message in asked[1]["messages"]] == ["system", "user", "assistant", "tool", "tool"]
    first, second = asked[1]["messages"][-2:]
    assert (first["tool_call_id"], first["content"]) == ("id-price-0", "7.5")
    assert (second["tool_call_id"], second["content"]) == ("id-price-1", "LookupError: no moon here")
    assert asked[2]["messages"][-1]["content"] == "bought a, b"
    assert asked[3]["messages"][-1]["content"].startswith("JSONDecodeError: ")
    turn = next(message for message in done.messages if message.role == "assistant")
    assert (turn.kind, turn.content) == ("action", "I look.")
    assert Trajectory.model_validate_json(done.model_dump_json()) == done


@pytest.mark.asyncio(loop_scope="module")
async def test_python_is_a_tool_whose_code_calls_the_others(pool: KernelSource) -> None:
    server = Answers(
        calling(("python", '{"code": "x = price(\'a\', 3)\\nx"}')), calling(("python", "[]")), answer(chat_reply("7.5"))
    )
    done, asked = await episode(server, "tools", pool)
    assert done.outcome.reason == "solved"
    assert "- price(thing: str, count: int = 1) -> float" in asked[0]["tools"][-1]["function"]["description"]
    assert asked[1]["messages"][-1]["content"] == "7.5"
    assert asked[2]["messages"][-1]["content"] == "TypeError: python() takes an object with the key code"


async def test_an_engine_without_native_calls_is_refused_in_one_sentence() -> None:
    done = await run_episode(task(), Says("7.5"), NoKernels(), protocol(ALONE), Sampling())
    assert done.outcome.error is not None
    assert "protocol.form=tools: the engine says has no native calls" in done.outcome.error.message


@pytest.mark.parametrize("calls", [3, [3], [{}], [{"function": {}}], [{"function": {"name": "f", "arguments": [1]}}]])
def test_calls_of_another_form_are_the_servers_fault(calls: Any) -> None:
    with pytest.raises(EngineError, match="no calls of functions"):
        calls_in({"tool_calls": calls}, "server")


def test_a_reply_without_results_of_its_own_answers_the_first_call() -> None:
    calls = tuple(ToolCall(id=str(index), name="f", arguments="{}") for index in range(2))
    messages = [
        Message(role="assistant", kind="action", content="", tool_calls=calls),
        Message(role="user", kind="observation", content="seen"),
    ]
    assert [message["content"] for message in chat_messages(messages)] == [None, "seen", ""]
