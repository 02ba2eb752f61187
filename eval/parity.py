"""Server parity: checks that a model server gives the probabilities of the exported weights.

Contract: the server completes fixed prompts greedily; transformers, in float32 from the same folder, then computes the
log-probability of each of these tokens. Comparing along the server's tokens stays meaningful after the first token on
which the engines disagree. It finds servers that answer wrongly: q and k rows in another engine's order, a tied head
instead of an untied one, the weights of another checkpoint.

Tolerance: the mean absolute difference of log-probabilities is at most ``tolerance`` (0.01), and that of each token at
most five times as much. The CPU server with float16 weights measured 0.0007 and 0.007 on SmolLM2-135M; a swapped row
order or the weights of another epoch differ by 0.1 or more on average. Cost: one forward pass for each prompt, and the
model's float32 weights in memory for that time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import torch

from codeact_train import read_config

_SYSTEM = "You solve tasks by writing Python. Put code between <execute> and </execute>. "
PROMPTS: tuple[tuple[tuple[str, str], ...], ...] = (
    (("user", "What is the capital of France?"),),
    (("system", _SYSTEM), ("user", "How many days are there between 3 March and 17 May 2023?")),
    (
        ("system", _SYSTEM * 12),  # long enough that rotary positions of some hundred tokens count
        ("user", "The table `sales` has the columns city, price, quantity. Which city sold most?"),
        ("assistant", "<execute>print(sales.groupby('city').quantity.sum())</execute>"),
        ("user", "Observation:\ncity\nBergen    12\nOslo      31\nName: quantity, dtype: int64"),
    ),
)
"""Conversations as (role, content): short, with a system turn, long with several turns."""

_WORST_TO_MEAN = 5.0


@dataclass(frozen=True)
class ParityReport:
    """Result of the comparison; differences are of natural log-probabilities."""

    tokens: int
    mean_difference: float
    worst_difference: float
    other_choices: int
    """Tokens of the server that are not the first choice of the reference."""
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the differences are within the tolerance."""
        return self.mean_difference <= self.tolerance and self.worst_difference <= _WORST_TO_MEAN * self.tolerance

    def sentence(self) -> str:
        """The result in one sentence."""
        verdict = "agrees" if self.passed else "DOES NOT agree"
        return (
            f"the server {verdict} with transformers: log-probabilities differ by {self.mean_difference:.4f} "
            f"on average (allowed {self.tolerance:g}), {self.worst_difference:.4f} at most (allowed "
            f"{_WORST_TO_MEAN * self.tolerance:g}), over {self.tokens} tokens"
        )


class ParityError(ValueError):
    """The server and the weights disagree; its answers must not be measured."""


def require_parity(url: str, folder: Path, *, tolerance: float = 0.01) -> ParityReport:
    """:func:`compare` that raises :class:`ParityError` when the comparison fails."""
    report = compare(url, folder, tolerance=tolerance)
    if not report.passed:
        raise ParityError(
            f"{folder}: {report.sentence()}; export and serve it again, or use serve.backend=transformers"
        )
    return report


def compare(
    url: str,
    folder: Path,
    *,
    prompts: Sequence[Sequence[tuple[str, str]]] = PROMPTS,
    new_tokens: int = 24,
    tolerance: float = 0.01,
) -> ParityReport:
    """Compares a server with the model folder that it serves.

    Args:
        url: base URL ending in ``/v1``; the server returns token ids and log-probabilities.
        folder: Hugging Face folder, the reference.
        prompts: conversations as (role, content) pairs.
        new_tokens: tokens generated and compared for each prompt.
        tolerance: see the module's docstring.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    prompt_ids: list[list[int]] = []
    for prompt in prompts:
        chat = [{"role": role, "content": content} for role, content in prompt]
        text = str(tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False))
        prompt_ids.append(list(tokenizer(text, add_special_tokens=False).input_ids))
    answers = [_ask(url, ids, new_tokens) for ids in prompt_ids]
    reference = _reference(folder, prompt_ids, [sampled for sampled, _ in answers])
    said_t = torch.cat([torch.tensor(logprobs) for _, logprobs in answers])
    true_t = torch.cat([of_sampled_t for of_sampled_t, _ in reference])
    best_t = torch.cat([of_best_t for _, of_best_t in reference])
    difference_t = (said_t - true_t).abs()
    return ParityReport(
        tokens=len(difference_t),
        mean_difference=float(difference_t.mean()),
        worst_difference=float(difference_t.max()),
        other_choices=int((best_t > true_t).sum()),
        tolerance=tolerance,
    )


def _ask(url: str, prompt_ids: list[int], new_tokens: int) -> tuple[list[int], list[float]]:
    """Token ids and log-probabilities of the server's completion. Raises :class:`ParityError` without them."""
    try:
        choice = _complete(url, prompt_ids, new_tokens)
        token_ids, logprobs = choice.token_ids, choice.logprobs.token_logprobs
        answer = list(token_ids), [float(value) for value in logprobs]
    except openai.APIError as error:
        raise ParityError(f"{url}: the server cannot be compared: {error}") from error
    except (AttributeError, LookupError, TypeError, ValueError):
        raise ParityError(
            f"{url}: the server returns no token ids or log-probabilities; it cannot be compared"
        ) from None
    if not answer[0] or len(answer[0]) != len(answer[1]):
        raise ParityError(
            f"{url}: the server returns {len(answer[0])} token ids and {len(answer[1])} log-probabilities"
        )
    return answer


def _complete(url: str, prompt_ids: list[int], new_tokens: int) -> Any:
    with openai.OpenAI(base_url=url, api_key="none", timeout=600.0) as client:
        reply = client.completions.create(
            model=client.models.list().data[0].id,
            prompt=prompt_ids,
            max_tokens=new_tokens,
            temperature=0.0,
            logprobs=0,
            extra_body={"return_token_ids": True},
        )
    return reply.choices[0]


@torch.no_grad()
def _reference(
    folder: Path, prompt_ids: list[list[int]], sampled: list[list[int]]
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """For each prompt, float32 log-probabilities (tokens,) of the sampled tokens, and of the most likely ones."""
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(folder, config=read_config(folder), dtype=torch.float32).eval()
    found = []
    for prompt, answer in zip(prompt_ids, sampled, strict=True):
        logits_1tv = model(torch.tensor([prompt + answer[:-1]]), logits_to_keep=len(answer)).logits
        logprobs_tv = logits_1tv[0].log_softmax(dim=-1)
        of_sampled_t = logprobs_tv.gather(1, torch.tensor(answer)[:, None])[:, 0]
        found.append((of_sampled_t, logprobs_tv.max(dim=-1).values))
    return found
