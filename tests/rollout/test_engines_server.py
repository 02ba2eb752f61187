"""The CPU server through its HTTP door, on a tiny random Llama."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from rollout.servers.openvino import OpenVINOBackend, OpenVINOSettings
from rollout.servers.scripted import Rule, Script, ScriptedBackend
from rollout.servers.transformers import TransformersBackend, TransformersSettings

PROMPT = "system user assistant <execute>print("


def ask(url: str, prompt: str | list[int] = PROMPT, **options: Any) -> Any:
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client:
        extra = {"return_token_ids": True} | options.pop("extra", {})
        options = {"max_tokens": 12, "temperature": 0.0, "logprobs": 0} | options
        return client.completions.create(model="tiny", prompt=prompt, extra_body=extra, **options).choices[0]


async def ask_many(url: str, prompts: list[str], **options: Any) -> Any:
    return await asyncio.gather(*(asyncio.to_thread(ask, url, prompt, **options) for prompt in prompts))


@pytest.fixture(scope="module")
def reference(tiny_llama: Path, serve_here: Callable[[Any], str]) -> str:
    return serve_here(TransformersBackend(tiny_llama, TransformersSettings(threads=1)))


def test_both_backends_say_the_same(tiny_server: str, reference: str) -> None:
    fast, slow = ask(tiny_server), ask(reference)
    assert fast.token_ids == slow.token_ids
    assert fast.text == slow.text
    assert fast.logprobs.token_logprobs == pytest.approx(slow.logprobs.token_logprobs, abs=0.05)
    assert fast.finish_reason == slow.finish_reason == "length"


def test_a_prompt_of_token_ids_is_the_prompt_of_its_text(tiny_server: str) -> None:
    as_text = ask(tiny_server)
    assert ask(tiny_server, as_text.prompt_token_ids).token_ids == as_text.token_ids


async def test_a_seed_decides_alone_and_in_a_batch(tiny_server: str) -> None:
    alone = [ask(tiny_server, f"{PROMPT}{i}", temperature=1.0, seed=i).token_ids for i in range(4)]
    batch = await asyncio.gather(
        *(asyncio.to_thread(ask, tiny_server, f"{PROMPT}{i}", temperature=1.0, seed=i) for i in range(4))
    )
    assert [choice.token_ids for choice in batch] == alone
    assert ask(tiny_server, f"{PROMPT}0", temperature=1.0, seed=99).token_ids != alone[0]


async def test_requests_that_share_a_cold_beginning_answer_as_they_do_alone(
    tiny_llama: Path, serve_here: Callable[[Any], str], tmp_path: Path
) -> None:
    url = serve_here(OpenVINOBackend(tiny_llama, OpenVINOSettings(threads=1, cache_gib=1, gguf_cache=tmp_path)))
    prompts = [f"{PROMPT * 20}{i}" for i in range(6)]
    together = await ask_many(url, prompts)
    assert [choice.token_ids for choice in together] == [ask(url, prompt).token_ids for prompt in prompts]


@pytest.mark.parametrize("server", ["tiny_server", "reference"])
@pytest.mark.parametrize("include", [True, False])
def test_a_stop_string_ends_the_turn(request: pytest.FixtureRequest, server: str, include: bool) -> None:
    url = request.getfixturevalue(server)
    whole = ask(url)
    stop = next(letter for letter in whole.text[1:] if letter.isascii())  # a random model writes broken UTF-8, too
    choice = ask(url, stop=[stop], extra={"include_stop_str_in_output": include})
    end = whole.text.index(stop)
    assert choice.text == whole.text[: end + len(stop) * include]
    assert choice.finish_reason == "stop"
    assert choice.stop_reason == stop
    assert len(choice.token_ids) < len(whole.token_ids)
    assert whole.token_ids[: len(choice.token_ids)] == choice.token_ids
    assert len(choice.logprobs.token_logprobs) == len(choice.token_ids)


def test_chat_renders_the_models_own_template(tiny_server: str) -> None:
    with openai.OpenAI(base_url=tiny_server, api_key="none") as client:
        chat: Any = [{"role": "user", "content": "print(1)"}]
        reply: Any = client.chat.completions.create(
            model="tiny",
            messages=chat,
            max_tokens=4,
            temperature=0,
            logprobs=True,
            extra_body={"return_token_ids": True},
        )
    rendered = "<|im_start|>user\nprint(1)<|im_end|>\n<|im_start|>assistant\n"
    assert reply.prompt_token_ids == ask(tiny_server, rendered).prompt_token_ids
    assert reply.choices[0].token_ids == ask(tiny_server, rendered, max_tokens=4).token_ids
    assert len(reply.choices[0].logprobs.content) == 4
    assert reply.usage.prompt_tokens == len(reply.prompt_token_ids)


def test_routes_are_described_and_a_broken_body_is_an_error(tiny_server: str) -> None:
    root = tiny_server.removesuffix("/v1")
    described = httpx2.get(f"{root}/openapi.json").json()
    assert {"/health", "/v1/models", "/v1/completions", "/v1/chat/completions"} == set(described["paths"])
    broken = httpx2.post(f"{tiny_server}/completions", content="{", headers={"Content-Type": "application/json"})
    assert (broken.status_code, broken.json()["error"]["code"]) == (400, "invalid_request_error")


def test_what_is_not_served_is_an_error(tiny_server: str) -> None:
    with pytest.raises(openai.BadRequestError, match="lists at most 1 tokens, not 5"):
        ask(tiny_server, logprobs=5)
    with pytest.raises(openai.BadRequestError, match="0 is for echo"):
        ask(tiny_server, max_tokens=0)
    with pytest.raises(openai.BadRequestError) as full:
        ask(tiny_server, max_tokens=4000)
    assert full.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError, match="empty"):
        ask(tiny_server, [])


@pytest.fixture
def hour_long(serve_here: Callable[[Any], str]) -> str:
    """A server each of whose answers takes an hour."""
    return serve_here(ScriptedBackend(Script(rules=[Rule(reply="late", fault="slow", delay_s=3600)])))


@pytest.mark.parametrize("server", ["tiny_server", "hour_long"])
async def test_a_client_that_leaves_frees_its_place(server: str, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue(server)
    async with httpx2.AsyncClient(timeout=None) as http:

        async def in_flight() -> Any:
            return (await http.get(f"{url.removesuffix('/v1')}/health")).json()["in_flight"]

        body = {"prompt": PROMPT, "max_tokens": 1900, "temperature": 1.0, "seed": 5}
        asking = asyncio.create_task(http.post(f"{url}/completions", json=body))
        while await in_flight() == 0:
            if asking.done():  # on a busy machine the tiny model may be through before anybody looks
                asking = asyncio.create_task(http.post(f"{url}/completions", json=body))
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking
        while await in_flight():  # for an hour, if the server does not notice
            await asyncio.sleep(0.01)
    if server == "tiny_server":
        assert len(ask(url).token_ids) == 12
