"""The client's two ways of asking, its routing, and how faults become typed errors."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rollout.bank.trajectory import Message, Sampling
from rollout.engines.base import ContextFull, EngineError, EngineRefused
from rollout.engines.chat_prompt import ChatPrompt
from rollout.engines.openai_client import OpenAIEngine, servers_in_order
from rollout.engines.replies import restore_stop
from rollout.servers.scripted import Rule, Script, ScriptedBackend

STOP = ("</execute>", "</solution>")
SYSTEM = Message(role="system", kind="instruction", content="Act by writing Python.")
TASK = Message(role="user", kind="task", content="Print 1.")
CHAT = (SYSTEM, TASK)


def scripted(serve_here: Callable[[Any], str], *rules: Rule, **settings: Any) -> str:
    return serve_here(ScriptedBackend(Script(rules=rules, **settings)))


async def complete(
    urls: Any,
    messages: Any = CHAT,
    *,
    tokenizer: Any = None,
    session: str = "s",
    retries: int = 0,
    timeout_s: float = 60.0,
    **sampling: Any,
) -> Any:
    engine = OpenAIEngine("e", urls, "m", tokenizer, retries=retries, timeout_s=timeout_s)
    try:
        return await engine.complete(messages, Sampling(**({"stop": STOP} | sampling)), session=session)
    finally:
        await engine.close()


async def test_messages_give_text_with_its_stop_string(serve_here: Callable[[Any], str]) -> None:
    url = scripted(serve_here, Rule(reply="<execute>print(1)</execute> and more"))
    completion = await complete([url])
    assert completion.text == "<execute>print(1)</execute>"
    assert completion.finish_reason == "stop"
    assert completion.token_ids is None
    assert completion.completion_tokens == len(completion.text)


async def test_token_ids_come_back_as_sampled(tiny_server: str, tiny_llama: Path) -> None:
    completion = await complete([tiny_server], tokenizer=str(tiny_llama), max_tokens=9, temperature=1.0, seed=3)
    assert completion.completion_tokens == len(completion.token_ids) == len(completion.logprobs)
    assert completion.prompt_tokens == len(ChatPrompt(tiny_llama).ids(CHAT))


async def test_earlier_turns_are_never_encoded_again(tiny_llama: Path, tiny_server: str) -> None:
    prompt = ChatPrompt(tiny_llama)
    odd = tuple(prompt._encode("p") + prompt._encode("r") + prompt._encode("int"))  # text alone would be one token
    assert list(odd) != prompt._encode("print")
    turn = Message(role="assistant", kind="action", content="print", token_ids=odd)
    answer = Message(role="user", kind="observation", content="1")
    ids = prompt.ids([*CHAT, turn, answer])
    before = prompt.ids(CHAT)
    assert ids[: len(before) + len(odd)] == [*before, *odd]
    plain = turn.model_copy(update={"token_ids": None})
    assert prompt.decode(ids) == prompt.decode(prompt.ids([*CHAT, plain, answer]))


def test_a_sampled_end_token_does_not_stand_twice(tiny_llama: Path) -> None:
    prompt = ChatPrompt(tiny_llama)
    content = tuple(prompt._encode("print"))
    ended = content + tuple(prompt._encode("<|im_end|>"))
    turns = [Message(role="assistant", kind="action", content="print", token_ids=ids) for ids in (content, ended)]
    assert prompt.ids([*CHAT, turns[0], TASK]) == prompt.ids([*CHAT, turns[1], TASK])


@pytest.mark.parametrize(
    ("text", "reported", "expected"),
    [
        ("<execute>1", None, "<execute>1</execute>"),
        ("<execute>1</execute>", None, "<execute>1</execute>"),
        ("a <solution>1", None, "a <solution>1</solution>"),
        ("no tag", None, "no tag"),
        ("no tag", "</execute>", "no tag</execute>"),
    ],
)
def test_a_stop_string_that_was_cut_off_is_put_back(text: str, reported: str | None, expected: str) -> None:
    assert restore_stop(text, STOP, reported) == expected


async def test_a_passing_fault_is_retried(serve_here: Callable[[Any], str]) -> None:
    url = scripted(serve_here, Rule(fault="error", times=1), Rule(reply="<solution>1</solution>"))
    assert (await complete([url], retries=1)).text == "<solution>1</solution>"


@pytest.mark.parametrize("fault", [Rule(fault="error"), Rule(fault="slow", delay_s=30.0)])
async def test_a_lasting_fault_is_of_the_infrastructure(serve_here: Callable[[Any], str], fault: Any) -> None:
    with pytest.raises(EngineError) as raised:
        await complete([scripted(serve_here, fault)], timeout_s=0.3)
    assert raised.value.kind == "infra"
    assert not isinstance(raised.value, ContextFull)


async def test_a_lost_server_is_passed_over(serve_here: Callable[[Any], str]) -> None:
    alive = scripted(serve_here, Rule(reply="hello"))
    nobody = "http://127.0.0.1:9/v1"
    sessions = [f"s{i}" for i in range(8)]
    assert {servers_in_order([nobody, alive], session)[0] for session in sessions} == {nobody, alive}
    for session in sessions:
        assert (await complete([nobody, alive], session=session)).text == "hello"
    with pytest.raises(EngineError, match="no answer from") as raised:
        await complete([nobody])
    assert raised.value.kind == "infra"


def test_a_session_keeps_its_server_when_others_come_and_go() -> None:
    urls = [f"http://{i}/v1" for i in range(5)]
    for session in map(str, range(50)):
        first, second = servers_in_order(urls, session)[:2]
        assert servers_in_order([url for url in reversed(urls) if url != first], session)[0] == second
        assert servers_in_order([first, second], session)[0] == first


async def test_a_full_context_is_its_own_outcome(
    serve_here: Callable[[Any], str], tiny_server: str, tiny_llama: Path
) -> None:
    small = scripted(serve_here, Rule(reply="x"), context_length=50)
    with pytest.raises(ContextFull, match="maximum context length"):
        await complete([small])
    with pytest.raises(ContextFull):
        await complete([tiny_server], tokenizer=str(tiny_llama), max_tokens=2040)


async def test_a_wrong_address_is_refused_with_advice(serve_here: Callable[[Any], str]) -> None:
    url = scripted(serve_here, Rule(reply="x"))
    with pytest.raises(EngineRefused, match="check base_urls") as raised:  # a route that is not there: 404
        await complete([url.removesuffix("/v1") + "/v2"])
    assert raised.value.kind == "infra"


async def test_an_empty_turn_of_a_model_is_a_turn_of_no_tokens(tiny_llama: Path) -> None:
    prompt = ChatPrompt(tiny_llama)
    silent = Message(role="assistant", kind="invalid", content="", token_ids=())
    assert prompt.ids([*CHAT, silent, TASK]) == prompt.ids([*CHAT, silent.model_copy(update={"token_ids": None}), TASK])


async def test_running_out_of_tokens_is_a_length_finish(serve_here: Callable[[Any], str]) -> None:
    url = scripted(serve_here, Rule(match="Print 1", fault="truncated", reply="<execute>print(1)</execute>"))
    completion = await complete([url])
    assert completion.finish_reason == "length"
    assert completion.text == "<execute>print(1)</execute>"[: len(completion.text)] != ""


async def test_rules_see_prompt_and_turn(serve_here: Callable[[Any], str]) -> None:
    url = scripted(serve_here, Rule(turn=0, reply="first"), Rule(match="Observation: 7", reply="seven"))
    said = Message(role="assistant", kind="action", content="first")
    seen = Message(role="user", kind="observation", content="Observation: 7")
    assert (await complete([url])).text == "first"
    assert (await complete([url], [*CHAT, said, seen])).text == "seven"
    with pytest.raises(EngineError, match="no rule"):
        await complete([url], [*CHAT, said, TASK])


def test_no_server_is_refused() -> None:
    with pytest.raises(ValueError, match="base_urls"):
        OpenAIEngine("e", [], "m")
