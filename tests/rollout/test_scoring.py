"""How probable given texts are: asked of servers of every kind, and computed by our own."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
import torch
from transformers import AutoModelForCausalLM

from rollout import Sampling, Task, Trajectory, run_episode
from rollout.bank.trajectory import Message
from rollout.engines import ContextFull, EngineError, EngineRefused, Scores
from rollout.engines.openai_client import OpenAIEngine
from rollout.protocol import EpisodeProtocol
from rollout.servers import folder_digest
from rollout.servers.openvino import OpenVINOBackend, OpenVINOSettings
from rollout.servers.transformers import TransformersBackend, TransformersSettings
from tests.helpers.episodes import Says
from tests.helpers.fake_server import CHAT, URL, Answers, NoKernels, answer, engine_on

PROMPT = "Which?\nA. 6\nB. 7\nAnswer:"
LETTERS = (" A", " B")
TASK = Task("f", "k", "test", "test", "t-1", PROMPT, "B", "text", choices=LETTERS)
Handler = Callable[[str, dict[str, Any]], Any]


def tops(*listed: dict[str, float]) -> Any:
    """A completion that lists the most probable tokens."""
    logprobs = {"tokens": ["x"], "token_logprobs": [-0.5], "top_logprobs": list(listed)}
    return answer({"choices": [{"text": "x", "logprobs": logprobs}], "usage": {"prompt_tokens": 7}})


def echo(text: str, logprob: float, after: Sequence[str] = ("!",)) -> Any:
    """A completion that begins with the prompt, a token a character; each has the same log-probability."""
    tokens = [*text, *after]
    values = [None, *[logprob] * (len(tokens) - 1)]
    choice = {"text": "".join(tokens), "logprobs": {"tokens": tokens, "token_logprobs": values, "top_logprobs": None}}
    return answer({"choices": [choice], "usage": {"prompt_tokens": len(text)}})


def refusal(said: str, status: int = 400) -> Any:
    return answer({"error": {"message": said}}, status)


def server(handle: Handler) -> Answers:
    """A server that answers by path and body of the request."""
    return Answers(lambda request: handle(request.url.path.removeprefix("/v1"), json.loads(request.content)))


async def score(
    answers: Answers, prompt: str | Sequence[Message] = PROMPT, texts: Sequence[str] = LETTERS, **settings: Any
) -> Scores:
    engine = engine_on(answers, **settings)
    try:
        return await engine.score(prompt, texts, session="s")
    finally:
        await engine.close()


def asked(answers: Answers) -> list[dict[str, Any]]:
    return [json.loads(request.content) for request in answers.seen]


async def test_one_request_is_enough_when_every_letter_is_among_the_first_tokens() -> None:
    answers = Answers(tops({" A": -2.0, " B": -0.5, "B": -0.1}))
    scores = await score(answers)
    assert (scores.logprobs, scores.best, scores.prompt_tokens) == ((-2.0, -0.5), 1, 7)
    (body,) = asked(answers)
    assert (body["prompt"], body["max_tokens"], body["logprobs"], body["temperature"]) == (PROMPT, 1, 20, 0.0)


async def test_llama_cpps_form_of_a_list_is_read() -> None:
    listed = [{"id": 65, "token": " A", "logprob": -0.2}, {"id": 66, "token": " B", "logprob": -1.5}]
    content = [{"token": " A", "logprob": -0.2, "top_logprobs": listed}]
    reply = {"choices": [{"text": " A", "logprobs": {"content": content}}]}
    assert (await score(Answers(answer(reply)))).logprobs == (-0.2, -1.5)


async def test_a_letter_that_is_not_listed_is_asked_for_by_echo() -> None:
    def handle(path: str, body: dict[str, Any]) -> Any:
        if body.get("echo"):
            return echo(body["prompt"], -3.0 if body["prompt"].endswith("A") else -2.0)
        return tops({" B": -0.5})

    answers = server(handle)
    scores = await score(answers)
    assert scores.logprobs == (-3.0, -2.0) and scores.best == 1
    assert [body["prompt"] for body in asked(answers)[1:]] == [f"{PROMPT} A", f"{PROMPT} B"]
    assert scores.prompt_tokens == 2 * len(f"{PROMPT} A")


async def test_a_text_of_several_tokens_is_scored_as_a_whole() -> None:
    def handle(path: str, body: dict[str, Any]) -> Any:
        return echo(body["prompt"], -1.0) if body.get("echo") else tops({"x": -0.1})

    scores = await score(server(handle), texts=(" yes", " nope"))
    assert scores.logprobs == (-3.0, -4.0), "the space is shared; three letters and four follow"


async def test_without_echo_a_letter_that_is_not_listed_is_less_probable() -> None:
    def handle(path: str, body: dict[str, Any]) -> Any:
        return refusal("Only no echo is supported", 500) if body.get("echo") else tops({" B": -0.5})

    answers = server(handle)
    engine = engine_on(answers)
    assert (await engine.score(PROMPT, LETTERS, session="s")).logprobs == (None, -0.5)
    requests = len(answers.seen)
    assert (await engine.score(PROMPT, LETTERS, session="s")).best == 1
    assert len(answers.seen) == requests + 1, "what was refused is not asked again"
    await engine.close()


async def test_the_limit_of_a_server_is_found_and_remembered() -> None:
    def handle(path: str, body: dict[str, Any]) -> Any:
        return tops({" A": -1.0, " B": -2.0}) if body["logprobs"] <= 5 else refusal("logprobs: at most 5")

    answers = server(handle)
    engine = engine_on(answers)
    for _ in range(2):
        assert (await engine.score(PROMPT, LETTERS, session="s")).best == 0
    assert [body["logprobs"] for body in asked(answers)] == [20, 5, 5]
    await engine.close()


@pytest.mark.parametrize(
    ("given", "cause"),
    [
        (refusal("no logprobs here"), "no logprobs here"),
        (answer({"choices": [{"text": "A", "logprobs": None}]}), "returns no log-probabilities of the prompt"),
        (tops({"x": -1.0}), "does not echo the prompt"),
    ],
)
async def test_a_server_that_cannot_is_named_with_what_helps(given: httpx2.Response, cause: str) -> None:
    with pytest.raises(EngineRefused, match=r"vLLM with --max-logprobs 20, llama\.cpp, or") as raised:
        await score(Answers(given))
    assert URL in str(raised.value) and cause in str(raised.value)


async def test_an_outage_is_no_refusal_and_a_full_context_is_the_models() -> None:
    with pytest.raises(EngineError) as raised:
        await score(Answers(refusal("down", 503)))
    assert raised.value.kind == "infra" and not isinstance(raised.value, EngineRefused)
    with pytest.raises(ContextFull):
        await score(Answers(refusal("This model's maximum context length is 8 tokens")))


async def test_token_ids_name_the_letters() -> None:
    answers = Answers(tops({f"token_id:{ord('A')}": -0.5, f"token_id:{ord('B')}": -0.25}))
    scores = await score(answers, CHAT, ("Answer: A", "Answer: B"), tokens=True)
    assert scores.logprobs == (-0.5, -0.25)
    (body,) = asked(answers)
    shared = "".join(message.content for message in CHAT) + "Answer: "
    assert bytes(body["prompt"]).decode() == shared and body["return_tokens_as_token_ids"] is True


async def test_a_chat_that_the_server_renders_goes_on_with_what_the_texts_share() -> None:
    listed = [{"token": "B", "logprob": -0.25}, {"token": " A", "logprob": -1.0}, {"token": "A", "logprob": -4.0}]
    content = [{"token": "B", "logprob": -0.25, "top_logprobs": listed}]
    reply = {"choices": [{"message": {"content": "B"}, "logprobs": {"content": content}}]}
    answers = Answers(answer(reply))
    assert (await score(answers, CHAT, ("Answer: A", "Answer: B"))).logprobs == (-1.0, -0.25)
    (body,) = asked(answers)
    assert body["messages"][-1] == {"role": "assistant", "content": "Answer:"} and body["continue_final_message"]
    assert (body["top_logprobs"], body["logprobs"]) == (20, True)
    answers = Answers(answer(reply))
    await score(answers, CHAT, ("A", "B"))
    assert "continue_final_message" not in asked(answers)[0] and len(asked(answers)[0]["messages"]) == len(CHAT)


class Prefers:
    """An engine that finds one text the most probable, and keeps what it was asked."""

    name = "prefers"

    def __init__(self, text: str) -> None:
        self.text, self.asked = text, []  # type: ignore[var-annotated]

    async def score(self, prompt: str | Sequence[Message], texts: Sequence[str], *, session: str) -> Scores:
        self.asked.append((prompt, tuple(texts)))
        return Scores(tuple(-0.5 if text == self.text else None for text in texts), prompt_tokens=9)

    async def complete(self, *arguments: Any, **more: Any) -> Any:
        raise AssertionError("nothing is generated")

    async def close(self) -> None: ...


async def episode(engine: Any, protocol: str = "mmlu-5-shot", task: Task = TASK) -> Trajectory:
    return await run_episode(task, engine, NoKernels(), EpisodeProtocol.model_validate(protocol), Sampling())


async def test_an_episode_chooses_after_plain_text() -> None:
    engine = Prefers(" B")
    done = await episode(engine)
    assert done.outcome.reason == "solved" and engine.asked == [(PROMPT, LETTERS)]
    prompt, turn = done.messages
    assert (prompt.role, prompt.content) == ("user", PROMPT)
    assert (turn.kind, turn.content, turn.choices) == ("proposal", " B", {" A": None, " B": -0.5})
    assert (done.usage.steps, done.usage.prompt_tokens, done.usage.completion_tokens) == (1, 9, 0)
    assert Trajectory.model_validate_json(done.model_dump_json()) == done
    assert (await episode(Prefers(" A"))).outcome.reason == "wrong_answer"


async def test_an_episode_in_a_chat_begins_the_assistants_turn() -> None:
    engine = Prefers("Answer: B")
    done = await episode(engine, "mmlu-5-shot-chat")
    ((messages, texts),) = engine.asked
    assert [message.content for message in messages] == [PROMPT.removesuffix("\nAnswer:")]
    assert texts == ("Answer: A", "Answer: B") and done.outcome.success
    assert done.grading is not None and done.grading.verdicts[0].proposed == "B"


async def test_an_engine_or_a_task_that_has_no_choices_is_named() -> None:
    done = await episode(Says("B"))
    assert done.lost and done.outcome.error is not None
    assert "says does not say how probable" in done.outcome.error.message
    with pytest.raises(ValueError, match="t-1 has no choices to compare; take a protocol of another form"):
        EpisodeProtocol.model_validate("mmlu-5-shot").check_task("t-1", ())


@pytest.fixture(scope="module")
def half_llama(make_llama: Callable[..., Path]) -> Path:
    """A tiny Llama whose weights are the same in half precision, so that each backend has the same."""
    folder = make_llama(seed=3, name="half")
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float16)
    model.to(torch.float32).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=["transformers", "openvino"])
def scoring_url(
    request: pytest.FixtureRequest,
    half_llama: Path,
    serve_here: Callable[[Any], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> str:
    if request.param == "transformers":
        return serve_here(TransformersBackend(half_llama, TransformersSettings(threads=1)))
    cache = tmp_path_factory.mktemp("gguf")
    return serve_here(OpenVINOBackend(half_llama, OpenVINOSettings(threads=1, cache_gib=1, gguf_cache=cache)))


async def test_our_servers_give_the_log_probabilities_of_the_model(scoring_url: str, half_llama: Path) -> None:
    engine = OpenAIEngine("tiny", [scoring_url], "tiny", str(half_llama), retries=0)
    prompt = "system user assistant <execute>print(" * 6
    model = AutoModelForCausalLM.from_pretrained(half_llama, dtype=torch.float32).eval()
    assert engine._prompt is not None
    try:
        for texts in (("1", "2"), (" user", " assistant</solution>", "42")):
            scores = await engine.score(prompt, texts, session="s")
            again = await engine.score(prompt, texts, session="s")
            lists = engine._prompt.continued(prompt, texts)
            shared = next(place for place, ids in enumerate(zip(*lists, strict=False)) if len(set(ids)) > 1)
            expected = [_reference(model, ids, shared) for ids in lists]
            assert scores.logprobs == pytest.approx(expected, abs=1e-4) and again.logprobs == scores.logprobs
            assert scores.best == max(range(len(texts)), key=expected.__getitem__)
    finally:
        await engine.close()


@torch.no_grad()
def _reference(model: Any, ids: list[int], start: int) -> float:
    """The sum of the log-probabilities of ``ids[start:]`` in one forward pass."""
    logprobs_tv = model(torch.tensor([ids])).logits[0].log_softmax(dim=-1)
    return sum(float(logprobs_tv[place - 1, ids[place]]) for place in range(start, len(ids)))


async def test_an_episode_on_our_server_needs_no_tokenizer(scoring_url: str, half_llama: Path) -> None:
    engine = OpenAIEngine(folder_digest(half_llama), [scoring_url], "tiny", retries=0)
    done = await episode(engine)
    await engine.close()
    assert done.outcome.reason in ("solved", "wrong_answer")
    choices = done.messages[-1].choices
    assert choices is not None and set(choices) == set(LETTERS) and None not in choices.values()


def test_an_echo_has_the_prompt_its_tokens_and_their_log_probabilities(scoring_url: str) -> None:
    with openai.OpenAI(base_url=scoring_url, api_key="none", max_retries=0) as client:
        made = client.completions.create(model="tiny", prompt="user 42", echo=True, logprobs=1, max_tokens=0)
        longer = client.completions.create(
            model="tiny", prompt="user 42", echo=True, logprobs=1, max_tokens=2, temperature=0
        )
    logprobs = made.choices[0].logprobs
    assert logprobs is not None and logprobs.tokens is not None and logprobs.token_logprobs is not None
    assert made.choices[0].text == "user 42" == "".join(logprobs.tokens)
    first: Any = logprobs.token_logprobs[0]
    assert first is None and len(logprobs.token_logprobs) == len(logprobs.tokens)
    assert longer.choices[0].text.startswith("user 42") and made.usage is not None
    more = longer.choices[0].logprobs
    assert more is not None and more.tokens is not None and len(more.tokens) == made.usage.prompt_tokens + 2
