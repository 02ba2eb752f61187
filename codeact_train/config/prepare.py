"""Configuration of ``codeact prepare``: how records become a corpus.

Contract: as :mod:`codeact_train.config.train`. The module is outside the package ``prepare`` so that launchers can read
it without heavy imports. Field names enter the digest of a corpus (``prepare.inputs``), so they are stable.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from codeact_train.config.base import Settings


class SourceSettings(Settings):
    """One file of the mixture, and how much of it an epoch holds."""

    path: str | None = None
    """JSON Lines file of records, optionally compressed (``.gz``); ``null`` for the records that ``select`` wrote in
    this run."""
    name: str | None = None
    """Name in the ledger, and source of records that name none; by default the file's name."""
    repeat: float = Field(1.0, gt=0.0)
    """How often an epoch holds each record: 2.5 takes all twice and half of them a third time, 0.2 takes a fifth. A
    hash of seed and id selects that half or fifth. Held-out records are never repeated."""
    share: float | None = Field(None, gt=0.0, lt=1.0)
    """Share of the mixture's tokens that comes from this file, instead of ``repeat``. Files without a share determine
    the size of the mixture; if all have one, it is as large as possible without repetition."""

    @model_validator(mode="after")
    def _one_amount(self) -> SourceSettings:
        if self.share is not None and self.repeat != 1.0:
            raise ValueError(f"repeat={self.repeat:g} and share={self.share:g} exclude each other; give one of them")
        return self


class EvaluationPrompts(Settings):
    """Prompts that no training record may contain."""

    path: str
    """JSON Lines file, optionally compressed (``.gz``), one evaluation task per line."""
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
    sequence_length: int = Field(1024, ge=8)
    """Slots of a pack. A document of n tokens fills n - 1 slots: its last token is only a target."""
    over_long: Literal["error", "drop", "split", "truncate"] = "error"
    """Policy for a document longer than a pack: ``error`` stops and names it, ``drop`` leaves it out, ``split`` cuts it
    into several at the start of a turn, ``truncate`` keeps its beginning. The ledger counts every case."""
    chat_template: str = "own"
    """``own`` for the template of the model folder, ``chatml``, or a Jinja file."""
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

    @model_validator(mode="after")
    def _shares_leave_room(self) -> PrepareConfig:
        shares = [source.share for source in self.sources if source.share is not None]
        total, all_shared = sum(shares), len(shares) == len(self.sources)
        if all_shared and abs(total - 1) > 1e-6:
            raise ValueError(f"sources: every file has a share and they add up to {total:g}; make that 1")
        if not all_shared and total >= 1:
            raise ValueError(f"sources: shares add up to {total:g} and leave nothing for the other files; lower them")
        return self
