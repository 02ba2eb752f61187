"""``prompt``: a model in service must be asked as it was trained.

For each assistant turn of sampled conversations, the tokens a server would send to the model (the messages before the
turn, rendered by the exported tokenizer with ``add_generation_prompt``) must be how the document begins. The token
after them, which the model is asked for first, must be trained, and so must the control token that ends the turn;
nothing else may be. A record of several documents must have each turn right in one of them. The text of a document must
be the server's text of its messages, and hold every turn that it trains.

Not applicable to a corpus of an earlier version, which has no samples. Where paper parity places the mask one token
late on purpose, only the tokens are compared. Cost: a tokenizer call for each turn, up to :data:`BUDGET_TOKENS` in all.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.distributed as dist
from transformers import AutoTokenizer

from codeact_train.data.corpus import Corpus
from codeact_train.data.document import Turn
from codeact_train.data.rendering import on_day
from codeact_train.data.samples import Sample, read_samples
from codeact_train.hf.serving_files import write_serving_files
from codeact_train.startup_checks.check import CheckContext, StartupCheck

BUDGET_TOKENS = 2_000_000
"""Tokens that the prompts of all samples may have; samples beyond are left out."""

_SHOWN = 4


def prompt(context: CheckContext) -> StartupCheck | None:
    """Count what differs from a server, over the sampled conversations of the corpus."""
    samples = read_samples(context.corpus.folder)
    if not samples:
        return None
    found: list[Any] = [None]
    if dist.get_rank() == 0:
        rows = context.source.vocabulary.rows
        found[0] = list(differences(context.corpus, context.source.folder, rows, samples))
    dist.broadcast_object_list(found, 0, group=context.ctx.cpu_group)
    first = f" (first: {found[0][0]})" if found[0] else ""
    return StartupCheck("prompt", len(found[0]), 0, f"number of turns trained otherwise than a server asks{first}")


def differences(corpus: Corpus, model: Path, rows: int, samples: list[Sample]) -> Iterator[str]:
    """What differs between documents and a server of the model with the corpus's tokenizer, in words."""
    spent = 0
    with tempfile.TemporaryDirectory() as folder:
        write_serving_files(model, corpus.folder / "tokenizer", Path(folder), dtype="float32", vocab=rows)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    server = _Server(tokenizer, on_day(tokenizer.get_chat_template(), corpus.template_date))
    paper = corpus.parity == "paper"
    for sample in samples:
        if spent > BUDGET_TOKENS:
            return
        comparison = _Comparison(server, sample, masked=not paper)
        for number in range(len(sample.conversation.lengths)):
            document = corpus.document(sample.document + number)
            part = slice(sample.start, len(document) - paper)  # there one more token follows each document
            comparison.add(document.ids[part].tolist(), document.weights[part].tolist())
        for difference in comparison.differences():
            yield f"record {sample.record}, {difference}"
        spent += comparison.spent


@dataclass(frozen=True)
class _Server:
    """The tokenizer of an export, as a server loads it, and its template on the day that the corpus writes."""

    tokenizer: Any
    template: str

    def ids(self, turns: Sequence[Turn], *, prompt: bool) -> list[int]:
        return list(self._apply(turns, add_generation_prompt=prompt, tokenize=True, return_dict=False))

    def text(self, turns: Sequence[Turn]) -> str:
        return str(self._apply(turns, tokenize=False))

    def decode(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def shown(self, ids: list[int]) -> str:
        return repr(self.decode(ids[:_SHOWN])) if ids else "nothing"

    def is_control(self, token: int) -> bool:
        added = self.tokenizer.added_tokens_decoder.get(token)
        return added is not None and added.special

    def _apply(self, turns: Sequence[Turn], **how: Any) -> Any:
        messages = [{"role": turn.role, "content": turn.content} for turn in turns]
        return self.tokenizer.apply_chat_template(messages, chat_template=self.template, **how)


class _Comparison:
    """A conversation's documents against the server. ``masked``: whether the weights are those of the turns."""

    def __init__(self, server: _Server, sample: Sample, *, masked: bool):
        self.server, self.conversation, self.masked = server, sample.conversation, masked
        self.spent = 0
        self._added = 0
        self._right: set[int] = set()
        self._wrong: dict[int, str] = {}
        self._others: list[str] = []

    def differences(self) -> list[str]:
        """What differs in the documents added, in words: trained turns that are right in none of them, or the rest."""
        wrong = [f"turn {turn}: {difference}" for turn, difference in self._wrong.items() if turn not in self._right]
        return wrong or self._others

    def add(self, ids: list[int], weights: list[float]) -> None:
        """Compare the next document."""
        turns = self.conversation.turns[: self.conversation.lengths[self._added]]
        self._added += 1
        try:
            self._compare(turns, ids, weights)
        except Exception as error:  # templates may raise any exception
            self._others.append(f"the chat template refuses its messages: {error}")

    def _compare(self, turns: Sequence[Turn], ids: list[int], weights: list[float]) -> None:
        rendered = self.server.text(turns)
        asked: set[int] = set()  # places of the tokens that a server asks for
        for number, turn in enumerate(turns):
            if turn.role != "assistant" or not turn.weight:
                continue
            sent = self.server.ids(turns[:number], prompt=True) if number else []
            self.spent += len(sent)
            if not self.conversation.whole and len(sent) >= len(ids):
                break  # in a later piece of the document
            if turn.content.strip() not in rendered:
                self._wrong[number] = "the server's text leaves out part of it"
            elif ids[: len(sent)] != sent:
                self._wrong[number] = self._differs(ids, sent, "the server's prompt")
            elif self.masked and (wrong := self._of_mask(ids, weights, len(sent) if number else _first(weights))):
                self._wrong[number] = wrong
            else:
                self._right.add(number)
                asked.update(_trained_from(weights, len(sent) if number else _first(weights)))
        trained_by_others = any(turn.weight for turn in turns if turn.role != "assistant")
        if self.masked and not trained_by_others:
            trained = {place for place, weight in enumerate(weights) if weight > 0}
            if unasked := sorted(trained - asked):
                self._others.append(f"token {unasked[0]}, {self.server.shown(ids[unasked[0] :])}, is trained unasked")
        if self.conversation.whole and any(weights):
            last = max(place for place, weight in enumerate(weights) if weight > 0)
            self._compare_text(turns, ids[: last + 1])

    def _of_mask(self, ids: list[int], weights: list[float], first: int) -> str | None:
        """What is wrong with the loss weights of the turn whose first token is ``first``."""
        trained = _trained_from(weights, first)
        if not trained:
            return f"the first token that a server asks for is not trained: {self.server.shown(ids[first:])}"
        cut = trained.stop == len(ids) and not self.conversation.whole
        if cut or self.server.is_control(ids[trained.stop - 1]):
            return None
        after = self.server.shown(ids[trained.stop :])
        return f"the token that ends the turn is not trained: what is trained ends before {after}"

    def _compare_text(self, turns: Sequence[Turn], ids: list[int]) -> None:
        """Compare a document up to its last trained token; what a template writes after that is never asked for."""
        wanted = self.server.ids(turns, prompt=False)
        self.spent += len(wanted)
        # where a prompt and its answer meet, a token of the whole may be divided in two: its text is the same
        if ids != wanted[: len(ids)] and not self.server.decode(wanted).startswith(self.server.decode(ids)):
            self._others.append(self._differs(ids, wanted, "a server"))

    def _differs(self, ids: list[int], wanted: list[int], whose: str) -> str:
        both = enumerate(zip(ids, wanted, strict=False))
        at = next((i for i, (here, there) in both if here != there), min(len(ids), len(wanted)))
        return f"at token {at} the document has {self.server.shown(ids[at:])}, {whose} {self.server.shown(wanted[at:])}"


def _first(weights: list[float]) -> int:
    """The first trained place: where a conversation begins that the assistant opens without a prompt."""
    return next((place for place, weight in enumerate(weights) if weight > 0), len(weights))


def _trained_from(weights: list[float], first: int) -> range:
    """The trained places from ``first`` on, up to one that is not trained."""
    stop = next((place for place in range(first, len(weights)) if not weights[place] > 0), len(weights))
    return range(first, stop)
