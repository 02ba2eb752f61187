"""Configuration of ``codeact prepare``: how records become a corpus.

Contract: as :mod:`codeact_train.config.train`. The module is outside the package ``prepare`` so that launchers can read
it without heavy imports. Field names enter the digest of a corpus (``prepare.inputs``), so they are stable.
"""

from __future__ import annotations

import datetime
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from codeact_train.config.base import Settings, UserPath

TEMPLATE_DATE = "2024-07-26"
"""The day that chat templates write unless the configuration names another; Llama-3.1's template falls back on it."""


class SourceSettings(Settings):
    """One source of the mixture, and how much of it an epoch holds."""

    path: UserPath | None = None
    """File of records (JSON Lines, a JSON array, Parquet or Arrow, compressed or not), folder of a saved data set, or
    ``NAME:SPLIT`` of one that ``datasets`` loads; ``null`` for the records that ``select`` wrote in this run."""
    name: str | None = None
    """Name in the ledger, and source of records that name none; by default the file's name."""
    repeat: float = Field(1.0, gt=0.0)
    """How often an epoch holds each record: 2.5 takes all twice and half of them a third time, 0.2 takes a fifth. A
    hash of seed and id selects that half or fifth. Held-out records are never repeated."""
    allow_empty: bool = False
    """Go on when nothing of this source is kept; by default that is an error."""
    share: float | None = Field(None, gt=0.0, lt=1.0)
    """Share of the mixture's tokens that comes from this file, instead of ``repeat``. Files without a share determine
    the size of the mixture; if all have one, it is as large as possible without repetition."""

    @model_validator(mode="after")
    def _one_amount(self) -> SourceSettings:
        if self.share is not None and self.repeat != 1.0:
            raise ValueError(f"repeat={self.repeat:g} and share={self.share:g} exclude each other; give one of them")
        return self


class ReadingSettings(Settings):
    """How records of other forms are read. By default a record is dropped where something of it would be trained in
    another way than its file says."""

    tool_calls: Literal["drop", "text"] = "drop"
    """Records with tools, calls or results of tools: ``drop`` them, or write all three into the ``text`` as
    ``<tools>``, ``<tool_call>`` and ``<tool_response>``, the form of Hermes and Qwen2.5."""
    empty_replies: Literal["drop", "train"] = "drop"
    """Records with a trained assistant turn without text: ``drop`` them, or ``train`` the model to say nothing."""
    mask_keys: dict[str, Literal["weight", "ignore"]] = Field({})
    """Meaning of keys that seem to be about the loss, such as ``train`` or ``loss``: ``weight`` for another name of a
    turn's ``weight`` (false is 0, true is 1), or ``ignore``. Records with such a key that is not listed are dropped."""
    reasoning: Literal["leave_out", "text"] = "leave_out"
    """Reasoning beside the text of an assistant turn (``reasoning_content``): ``leave_out``, which the ledger counts,
    or write it into the ``text`` between ``<think>`` and ``</think>``."""


class EvaluationPrompts(Settings):
    """Prompts that no training record may contain."""

    path: UserPath
    """File of JSON Lines, or of another form that records can have, one evaluation task per line."""
    field: str = "prompt"
    """Key of the prompt in each line."""


class RoleWeights(Settings):
    """Loss weight of each role's text and end tokens; a turn's ``weight`` multiplies it."""

    system: float = Field(0.0, ge=0.0)
    """Instructions."""
    user: float = Field(0.0, ge=0.0)
    """Tasks and observations."""
    assistant: float = Field(1.0, ge=0.0)
    """Actions and answers."""


class PrepareConfig(Settings):
    """How records become a corpus."""

    sources: tuple[SourceSettings, ...] = Field((SourceSettings(),), min_length=1)
    """The files of the mixture; by default the records this run has selected."""
    reading: ReadingSettings = ReadingSettings()
    """How records of other forms are read."""
    sequence_length: int = Field(1024, ge=8)
    """Slots of a pack. A document of n tokens fills n - 1 slots: its last token is only a target."""
    over_long: Literal["error", "drop", "split", "truncate"] = "error"
    """Policy for a document longer than a pack: ``error`` stops and names it, ``drop`` leaves it out, ``split`` cuts it
    into several at the start of a turn, ``truncate`` keeps its beginning. The ledger counts every case."""
    chat_template: UserPath = "own"
    """``own`` for the template of the model folder, ``chatml``, or a Jinja file."""
    template_date: str = TEMPLATE_DATE
    """Day (YYYY-MM-DD) that a chat template with ``strftime_now`` writes into the documents. A server writes its own.
    """
    add_tokens: tuple[str, ...] = ()
    """Control tokens to add to the tokenizer if missing, such as ``<|im_start|>`` and ``<|im_end|>``."""
    role_weights: RoleWeights = RoleWeights()
    """Which roles are trained, and with which weight."""
    deduplicate: Literal["off", "exact", "near"] = "exact"
    """``exact`` keeps the first of the records with the same conversation; ``near`` also drops records with a
    similarity of at least 0.8 (Jaccard similarity of runs of five tokens, roles user and assistant)."""
    decontaminate: tuple[EvaluationPrompts, ...] = ()
    """Evaluation sets to check against: records that contain one of their prompts are dropped."""
    decontaminate_words: int = Field(13, ge=8)
    """Number of consecutive words of a prompt that count as a match; a shorter prompt is matched as a whole, from 8
    words on."""
    validation_share: float = Field(0.0, ge=0.0, lt=1.0)
    """Share of the records held out for the validation loss, selected by a hash of the record's id, or of its group if
    it has one: a group is held out as a whole."""
    seed: int = 0
    """Seed of the selection of held-out records, and of the records a ``repeat`` or ``share`` takes."""
    parity: Literal["off", "paper"] = "off"
    """``paper`` packs and weighs tokens as the CodeAct paper's training code did, defects included: next-fit packs,
    loss mask one token late, every pack weighing the same (``codeact_train.prepare.paper``)."""
    workers: int | None = Field(None, ge=1)
    """Processes that tokenise; ``null`` for one per 32 MB of records, up to one per core. Does not affect the corpus.
    """

    def of_corpus(self) -> dict[str, Any]:
        """The settings that a corpus stores. Keys that earlier versions did not have are left out at their default, so
        that the same inputs keep their digest."""
        stored = self.model_dump(exclude={"workers": True, "sources": {"__all__": {"allow_empty"}}})
        for key in self.left_out():
            del stored[key]
        return stored

    def left_out(self) -> set[str]:
        """Keys that earlier versions did not have, at their default."""
        defaults = {"reading": ReadingSettings(), "template_date": TEMPLATE_DATE}
        return {key for key, default in defaults.items() if getattr(self, key) == default}

    @field_validator("template_date")
    @classmethod
    def _is_a_day(cls, day: str) -> str:
        try:
            return datetime.date.fromisoformat(day).isoformat()
        except ValueError:
            raise ValueError(f"{day!r} is no day; write it as YYYY-MM-DD, such as {TEMPLATE_DATE}") from None

    @model_validator(mode="after")
    def _shares_leave_room(self) -> PrepareConfig:
        shares = [source.share for source in self.sources if source.share is not None]
        total, all_shared = sum(shares), len(shares) == len(self.sources)
        if all_shared and abs(total - 1) > 1e-6:
            raise ValueError(f"sources: every file has a share and they add up to {total:g}; make that 1")
        if not all_shared and total >= 1:
            raise ValueError(f"sources: shares add up to {total:g} and leave nothing for the other files; lower them")
        return self
