"""What the client makes of a server's answers: a turn, a typed error, or the context outcome."""

import json
import math
from typing import Any

import httpx2
import pytest

from rollout.bank.trajectory import Message, Sampling
from rollout.engines import Completion, ContextFull, EngineError, EngineRefused
from tests.helpers.fake_server import (
    CHAT,
    LATER,
    SOLUTION,
    URL,
    Answers,
    answer,
    chat_reply,
    engine_on,
    token_reply,
)

STOP = ("</execute>", "</solution>")


async def ask(given: Any, messages: tuple[Message, ...] = CHAT, *, tokens: bool = False, **settings: Any) -> Completion:
    answers = Answers(given if isinstance(given, httpx2.Response | Exception) else answer(given))
    engine = engine_on(answers, tokens=tokens, **settings)
    try:
        return await engine.complete(messages, Sampling(stop=STOP), session="s")
    finally:
        await engine.close()


async def fault(given: Any, messages: tuple[Message, ...] = CHAT, **settings: Any) -> EngineError:
    with pytest.raises(EngineError) as raised:
        await ask(given, messages, **settings)
    return raised.value


def changed(reply: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return reply | changes


@pytest.mark.parametrize(
    ("reply", "text", "reasoning"),
    [
        (chat_reply("hello"), "hello", None),
        (chat_reply("<execute>1"), "<execute>1</execute>", None),
        (chat_reply(""), "", None),
        (chat_reply(None), "", None),
        (chat_reply(None, tool_calls=[{"id": "1"}], finish="tool_calls"), "", None),
        (chat_reply(None, refusal="I will not."), "I will not.", None),
        (chat_reply([{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]), "ab", None),
        (
            chat_reply([{"type": "thinking", "thinking": [{"type": "text", "text": "t"}]}, {"text": "b"}]),
            "b",
            "t",
        ),
        (chat_reply("a\ud800b"), "a\N{REPLACEMENT CHARACTER}b", None),
        (chat_reply("a\ud83d\ude00b"), "a\N{GRINNING FACE}b", None),
        (chat_reply("x", reasoning_content="why"), "x", "why"),
        (chat_reply("x", reasoning="because \udfff"), "x", "because \N{REPLACEMENT CHARACTER}"),
        (chat_reply("x", reasoning_content=None, reasoning=""), "x", None),
        (chat_reply("x", reasoning={"effort": 1}), "x", None),
    ],
)
async def test_a_turn_is_read_in_each_form(reply: dict[str, Any], text: str, reasoning: str | None) -> None:
    completion = await ask(reply)
    assert (completion.text, completion.reasoning, completion.finish_reason) == (text, reasoning, "stop")
    assert (completion.prompt_tokens, completion.completion_tokens) == (7, 5)


@pytest.mark.parametrize("usage", [None, {}, [], "9", {"prompt_tokens": None}, {"prompt_tokens": -1}, {"a": 10**30}])
async def test_usage_that_is_missing_or_odd_counts_as_none(usage: Any) -> None:
    completion = await ask(changed(chat_reply(), usage=usage))
    assert (completion.text, completion.prompt_tokens, completion.completion_tokens) == (SOLUTION, 0, 0)
    with_ids = await ask(changed(token_reply("abc"), usage=usage), tokens=True)
    assert (with_ids.prompt_tokens, with_ids.completion_tokens) == (len("Act by writing Python.Print 1."), 3)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (answer(b""), "nothing"),
        (answer(b"<!DOCTYPE html><p>Log in", content_type="text/html"), "HTML"),
        (answer(b'data: {"choices": []}\n\ndata: [DONE]\n\n', content_type="text/event-stream"), "event stream"),
        (answer(b'{"choices": [{"message": {"con'), "instead of JSON"),
        (answer(b"\xff\xfe\x00garbage"), "instead of JSON"),
        (answer(b"[" * 200_000), "instead of JSON"),
        (answer(b'{"usage": ' + b"9" * 5000 + b"}"), "instead of JSON"),
        (answer(None), "no object"),
        (answer([1]), "no object"),
        (answer("text"), "no object"),
        (answer({}), "no choices"),
        (answer({"choices": None}), "no choices"),
        (answer({"choices": []}), "no choices"),
        (answer({"choices": [None]}), "no objects"),
        (answer({"choices": {"0": {}}}), "no objects"),
        (answer({"choices": [{"message": None}]}), "without a message"),
        (answer(chat_reply(7)), "content that is no text"),
        (answer(chat_reply({"a": 1})), "content that is no text"),
        (answer(chat_reply("x", finish=3)), "finish_reason"),
        (answer(chat_reply("x", finish="abort")), "gave the completion up"),
        (answer(chat_reply("", finish={"type": "abort"})), "gave the completion up"),
        (answer(chat_reply("", finish="insufficient_system_resource")), "gave the completion up"),
        (answer({"error": {"message": "overloaded", "code": 529}}), "overloaded"),
        (answer({"error": "CUDA out of memory"}), "CUDA"),
        (answer({"object": "error", "message": "engine is dead", "code": 500}), "engine is dead"),
        (answer({"choices": [{"error": {"code": 502, "message": "provider failed"}}]}), "provider failed"),
        (answer({"detail": "warming up"}, 503), "warming up"),
        (answer({"error": {"message": "slow down"}}, 429), "slow down"),
        (answer({"error": {"message": "tokens per minute", "code": "rate_limit_exceeded"}}, 413), "per minute"),
        (answer(b"<html>bad gateway</html>", 502), "502"),
        (answer(b"not gzip", content_encoding="gzip"), "no answer"),
        (httpx2.ConnectError("Name or service not known"), "Name or service"),
        (httpx2.ReadError("connection reset"), "connection reset"),
        (httpx2.RemoteProtocolError("peer closed"), "peer closed"),
        (httpx2.ReadTimeout("slow"), "timed out"),
    ],
)
async def test_what_is_no_completion_is_of_the_infrastructure(given: Any, says: str) -> None:
    found = await fault(given)
    assert found.kind == "infra" and not isinstance(found, EngineRefused)
    assert says in str(found) and len(str(found)) < 700 and URL in str(found)


@pytest.mark.parametrize(
    "choice",
    [
        {"token_ids": [1.5]},
        {"token_ids": ["1"]},
        {"token_ids": [True]},
        {"token_ids": [-1]},
        {"token_ids": [2**40]},
        {"token_ids": "12"},
        {"token_ids": []},
        {"text": None},
        {"logprobs": {"token_logprobs": [math.nan, -0.5, -0.5]}},
        {"logprobs": {"token_logprobs": [-math.inf, -0.5, -0.5]}},
        {"logprobs": {"token_logprobs": ["-0.5", -0.5, -0.5]}},
        {"logprobs": {"token_logprobs": [-0.5]}},
        {"logprobs": {"token_logprobs": 4}},
    ],
)
async def test_tokens_and_probabilities_that_are_none_are_of_the_infrastructure(choice: dict[str, Any]) -> None:
    found = await fault(token_reply("abc", **choice), tokens=True)
    assert found.kind == "infra" and not isinstance(found, EngineRefused)


async def test_probabilities_that_are_missing_are_none_and_an_empty_turn_has_no_tokens() -> None:
    for logprobs in (None, {}, {"token_logprobs": None}, {"token_logprobs": [None, -0.5, -0.5]}):
        completion = await ask(token_reply("abc", logprobs=logprobs), tokens=True)
        assert completion.token_ids == (97, 98, 99) and completion.logprobs is None
    silent = await ask(token_reply("", token_ids=[], logprobs=None), tokens=True)
    assert (silent.text, silent.token_ids) == ("", ())
    without = token_reply("abc")
    del without["choices"][0]["token_ids"]
    assert isinstance(await fault(without, tokens=True), EngineRefused)


@pytest.mark.parametrize("finish", ["content_filter", "SAFETY", "refusal"])
async def test_a_withheld_completion_is_the_models(finish: str) -> None:
    assert (await fault(chat_reply("", finish=finish))).kind == "model"


@pytest.mark.parametrize("finish", ["length", "MAX_TOKENS", "model_length", {"type": "length"}])
async def test_each_word_for_a_turn_cut_at_its_limit_is_length(finish: Any) -> None:
    completion = await ask(chat_reply("<execute>1", finish=finish))
    assert (completion.text, completion.finish_reason) == ("<execute>1", "length")


@pytest.mark.parametrize("status", [301, 302, 307, 308, 401, 402, 403, 404, 405])
async def test_a_wrong_key_address_or_model_is_refused_and_not_the_models(status: int) -> None:
    for messages in (CHAT, LATER):
        found = await fault(answer({"error": {"message": "The model `m` does not exist."}}, status), messages)
        assert isinstance(found, EngineRefused) and found.kind == "infra"
        assert str(status) in str(found) and "does not exist" in str(found)


@pytest.mark.parametrize("status", [400, 422, 501])
async def test_a_refused_conversation_is_the_models_only_after_it_has_spoken(status: int) -> None:
    body = {"error": {"message": "Unsupported parameter: seed"}}
    first, later = await fault(answer(body, status)), await fault(answer(body, status), LATER)
    assert first.kind == "infra" and isinstance(first, EngineRefused) == (status < 500)
    assert later.kind == ("model" if status < 500 else "infra")
    filtered = {"error": {"message": "The response was filtered", "code": "content_filter"}}
    assert (await fault(answer(filtered, 400))).kind == "model"


WORDINGS = [
    # OpenAI, Azure OpenAI
    "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens. Please reduce "
    "the length of the messages.",
    "Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 300000 tokens.",
    "Your input exceeds the context window of this model. Please adjust your input and try again.",
    # vLLM: before V1, V1, and the newer front end
    "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens (4900 in the messages, 100 "
    "in the completion). Please reduce the length of the messages or completion.",
    "The decoder prompt (length 5000) is longer than the maximum model length of 4096. Make sure that `max_model_len` "
    "is no smaller than the number of text tokens.",
    "'max_tokens' or 'max_completion_tokens' is too large: 500. This model's maximum context length is 4096 tokens and "
    "your request has 4000 input tokens (500 > 4096 - 4000).",
    "You passed 4097 input tokens and requested 1 output tokens. However, the model's context length is only 4096 "
    "tokens, resulting in a maximum input length of 4095 tokens. Please reduce the length of the input prompt.",
    "The engine prompt length 5000 exceeds the max_model_len 4096. Please reduce prompt.",
    # SGLang
    "The input (5000 tokens) is longer than the model's context length (4096 tokens).",
    "Requested token count exceeds the model's maximum context length of 4096 tokens. You requested a total of 5000 "
    "tokens: 4900 tokens from the input messages and 100 tokens for the completion.",
    "Input length (5000 tokens) exceeds the maximum allowed length (4090 tokens). Use a shorter input or enable "
    "--allow-auto-truncate.",
    # llama.cpp, llama-cpp-python, Ollama, LM Studio
    "the request exceeds the available context size. try increasing the context size or enable context shift",
    "request (5000 tokens) exceeds the available context size (4096 tokens), try increasing it",
    "Requested tokens (5000) exceed context window of 4096",
    "prompt too long; exceeded max context length by 904 tokens",
    "Trying to keep the first 5000 tokens when context the overflows. However, the model is loaded with context length "
    "of only 4096 tokens, which is not enough.",
    # TGI, TensorRT-LLM
    "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 4000 `inputs` tokens and 160 "
    "`max_new_tokens`",
    "Input validation error: `inputs` must have less than 4095 tokens. Given: 5000",
    "The sum of prompt length (5000.0), query length (0) should not exceed max_num_tokens (4096)",
    # Anthropic, Bedrock
    "prompt is too long: 210000 tokens > 200000 maximum",
    "input length and `max_tokens` exceed context limit: 199000 + 8192 > 200000, decrease input length or `max_tokens` "
    "and try again",
    "Input is too long for requested model.",
    # Gemini, Vertex AI
    "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
    "Unable to submit request because the input token count is 1200000 but model only supports up to 1048576.",
    # Mistral, DeepSeek, Together, Fireworks, Groq, Cerebras, xAI, Moonshot, MiniMax, Cohere, DashScope, OpenRouter
    "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
    "This model's maximum context length is 65536 tokens. However, you requested 70000 tokens (69840 in the messages, "
    "160 in the completion). Please reduce the length of the messages or completion.",
    "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193. Given: 9000 `inputs` tokens and 160 "
    "`max_new_tokens`",
    "The prompt is too long: 140000, model maximum context length: 131071",
    "Please reduce the length of the messages or completion.",
    "Please reduce the length of the messages or completion. Current length is 9000 while limit is 8192",
    "This model's maximum prompt length is 131072 but the request contains 140000 tokens.",
    "Invalid request: Your request exceeded model token limit: 131072",
    "invalid params, context window exceeds limit (2013)",
    "too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 4500.",
    "Range of input length should be [1, 30720]",
    "This endpoint's maximum context length is 131072 tokens. However, you requested about 140000 tokens.",
]


@pytest.mark.parametrize("wording", WORDINGS, ids=range(len(WORDINGS)))
async def test_each_wording_of_a_full_context_is_that_outcome(wording: str) -> None:
    bodies: list[tuple[Any, int]] = [
        ({"error": {"message": wording, "type": "invalid_request_error", "code": None}}, 400),  # OpenAI and most others
        ({"object": "error", "message": wording, "type": "BadRequestError", "code": 400}, 400),  # vLLM before 0.10
        ({"error": wording, "error_type": "validation"}, 422),  # TGI
        ([{"error": {"code": 400, "message": wording, "status": "INVALID_ARGUMENT"}}], 400),  # Gemini
        ({"type": "error", "error": {"type": "invalid_request_error", "message": wording}}, 413),  # Anthropic
        ({"detail": wording}, 400),
        ({"error": {"message": wording, "code": 400}}, 200),
    ]
    for body, status in bodies:
        assert isinstance(await fault(answer(body, status)), ContextFull), (body, status)


async def test_a_code_stands_for_a_full_context_and_a_limit_of_requests_does_not() -> None:
    for error in ({"code": "context_length_exceeded"}, {"type": "exceed_context_size_error", "n_ctx": 4096}):
        assert isinstance(await fault(answer({"error": {"message": "no", **error}}, 400)), ContextFull)
    busy = {"error": {"message": "Rate limit reached. Please reduce the length of the messages."}}
    assert not isinstance(await fault(answer(busy, 429)), ContextFull)


async def test_a_huge_body_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rollout.engines.http_client.MAX_BODY_BYTES", 1000)
    for status in (200, 400, 500):
        found = await fault(answer({"error": {"message": "x" * 2000}}, status))
        assert found.kind == "infra" and "longer than" in str(found)


async def test_retry_after_is_honoured_and_waits_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr("anyio.sleep", sleep)
    busy = answer({"error": {"message": "busy"}}, 429, retry_after="7")
    engine = engine_on(Answers(busy, answer(chat_reply())), retries=3)
    assert (await engine.complete(CHAT, Sampling(), session="s")).text == SOLUTION
    assert waits == [7.0]
    waits.clear()
    lost = engine_on(Answers(httpx2.ConnectError("refused")), retries=8)
    with pytest.raises(EngineError, match="refused"):
        await lost.complete(CHAT, Sampling(), session="s")
    assert len(waits) == 8 and max(waits) <= 8.0 and waits[0] <= 0.5 and len(set(waits)) == 8
    waits.clear()
    tomorrow = engine_on(Answers(answer({}, 503, retry_after="86400")), retries=3)
    with pytest.raises(EngineError, match="503"):
        await tomorrow.complete(CHAT, Sampling(), session="s")
    assert waits == []


async def test_an_odd_answer_of_one_server_leaves_the_others() -> None:
    def by_host(request: httpx2.Request) -> httpx2.Response:
        return answer(chat_reply()) if request.url.host == "good" else answer({}, 401)

    urls = [f"http://{host}/v1" for host in ("bad", "good", "worse")]
    engine = engine_on(Answers(by_host), urls=urls)
    for session in map(str, range(6)):
        assert (await engine.complete(CHAT, Sampling(), session=session)).text == SOLUTION
    assert isinstance(await fault(answer({}, 401), urls=urls), EngineRefused)


async def test_a_redirect_keeps_the_request_and_takes_no_key_to_another_host() -> None:
    def server(request: httpx2.Request) -> httpx2.Response:
        if request.url.host == "other.test":
            assert request.method == "POST" and json.loads(request.read())["model"] == "m"
            assert "authorization" not in request.headers and "x-team" not in request.headers
            return answer(chat_reply("moved"))
        assert request.headers["authorization"] == "Bearer key-of-this-test"
        return answer({}, 308, location="http://other.test/v1/chat/completions")

    engine = engine_on(Answers(server), api_key="key-of-this-test", secret_headers={"x-team": "secret"})
    assert (await engine.complete(CHAT, Sampling(), session="s")).text == "moved"
    circle = answer({}, 307, location=f"{URL}/chat/completions")
    assert (await fault(circle)).kind == "infra"


async def test_a_key_is_not_in_messages() -> None:
    said = {"error": {"message": "Incorrect API key provided: key-of-this-test."}}
    found = await fault(answer(said, 401), api_key="key-of-this-test")
    assert "key-of-this-test" not in str(found) and "Incorrect API key" in str(found)
