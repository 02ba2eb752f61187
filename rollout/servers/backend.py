"""The interface between the HTTP routes of a model server and the model.

Contract: a :class:`Backend` turns one :class:`GenerationRequest` (prompt as token ids) into one :class:`Generation`.
Many requests may be in flight at once; cancelling the awaiting task takes its request out of the batch.
:class:`Codec` converts between text and token ids.

Does not do: HTTP (``api.py``), models (``openvino.py``, ``transformers.py``, ``scripted.py``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True)
class GenerationRequest:
    """One completion to generate. Generation ends with the token that completes one of the ``stop`` strings."""

    prompt_ids: tuple[int, ...]
    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    top: int = 0
    """How many of the most probable tokens are listed at each place; at most :attr:`ScoringBackend.most_top`."""


@dataclass(frozen=True)
class Generation:
    """Sampled token ids, the end token included, each with its raw (temperature 1) log-probability.

    ``top`` has, for each token, the most probable ones in its place with their log-probabilities, when they were asked
    for.
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish_reason: FinishReason
    top: tuple[tuple[tuple[int, float], ...], ...] = ()


class Codec(Protocol):
    """Converts text to token ids and back, and renders the chat template."""

    def encode(self, text: str) -> list[int]: ...

    def decode(self, token_ids: Sequence[int]) -> str: ...

    def render(self, messages: Sequence[dict[str, str]]) -> list[int]: ...


class Backend(Protocol):
    """A loaded model. ``context_length`` counts tokens of prompt and completion; ``in_flight`` counts requests."""

    @property
    def name(self) -> str: ...

    @property
    def digest(self) -> str: ...

    @property
    def context_length(self) -> int: ...

    @property
    def codec(self) -> Codec: ...

    @property
    def in_flight(self) -> int: ...

    async def generate(self, request: GenerationRequest) -> Generation: ...

    async def close(self) -> None: ...


@runtime_checkable
class ScoringBackend(Backend, Protocol):
    """A backend that also computes log-probabilities of given tokens. ``most_top`` is the largest ``top`` it takes."""

    @property
    def most_top(self) -> int: ...

    async def score(self, token_ids: tuple[int, ...]) -> tuple[float, ...]:
        """The raw log-probability of each token but the first, after those before it."""


class TokenizerCodec:
    """The codec of a Hugging Face folder."""

    def __init__(self, folder: Path) -> None:
        self._tokenizer = load_tokenizer(folder)

    def encode(self, text: str) -> list[int]:
        return list(self._tokenizer(text).input_ids)

    def decode(self, token_ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(token_ids), skip_special_tokens=True))

    def render(self, messages: Sequence[dict[str, str]]) -> list[int]:
        prompt = self._tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, tokenize=False)
        return list(self._tokenizer(prompt, add_special_tokens=False).input_ids)


def load_tokenizer(folder: str | Path) -> Any:
    """The tokenizer of a model folder.

    A folder whose tokenizer is only a ``tokenizer.json`` is read without transformers' model registry: the same
    tokenizer in a third of the time (1.3 s of CPU time against 4.9 s, imports included) for every server and worker.
    """
    config_file = Path(folder) / "tokenizer_config.json"
    kind = json.loads(config_file.read_text()).get("tokenizer_class") if config_file.is_file() else None
    if kind in ("TokenizersBackend", "PreTrainedTokenizerFast"):
        from transformers import PreTrainedTokenizerFast

        return PreTrainedTokenizerFast.from_pretrained(folder)
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def end_token_ids(folder: Path) -> tuple[int, ...]:
    """Tokens that end a turn: those of ``generation_config.json`` and the tokenizer's end token."""
    ends: set[int | None] = {load_tokenizer(folder).eos_token_id}
    if (folder / "generation_config.json").is_file():
        configured = json.loads((folder / "generation_config.json").read_text()).get("eos_token_id")
        ends.update(configured if isinstance(configured, list) else [configured])
    return tuple(sorted(token for token in ends if token is not None))


def context_length(folder: Path) -> int:
    """Size of the model's context, in tokens."""
    return int(json.loads((folder / "config.json").read_text())["max_position_embeddings"])


def folder_digest(folder: Path) -> str:
    """SHA-256 (16 hex digits) over the files that decide a model's answers: configuration, weights, tokenizer."""
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.suffix in (".json", ".safetensors", ".jinja", ".model") and file.name != "export.json":
            digest.update(file.name.encode())
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:16]


def cut_at_stop(text: str, stop: Sequence[str], *, include: bool) -> str:
    """``text`` up to the first stop string in it, with or without the stop string itself."""
    which = first_stop(text, stop)
    if which is None:
        return text
    start = text.index(which)
    return text[: start + len(which)] if include else text[:start]


def first_stop(text: str, stop: Sequence[str]) -> str | None:
    """The stop string that comes first in ``text``."""
    return min((s for s in stop if s in text), key=text.index, default=None)
