"""The published results, as data: Tables 2, 3, 5 and A.8 of the paper, and MINT's counts.

Contract: each file of ``published/`` is read once and has its source. The values are the published ones, rounded as
published; nothing is computed here.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import Field

from rollout import StoredModel

FOLDER = Path(__file__).with_name("published")
Triple = tuple[float, float, float]
Counts = tuple[int, int, int]


class FormatRow(StoredModel):
    """A model under three action formats: CodeAct, JSON and text."""

    name: str
    open: bool
    success: Triple
    turns: Triple | None = None


class FormatTable(StoredModel):
    """Tables 2 and 3. ``best`` are the published counts of best formats, of ``open``, ``closed`` or ``all`` models."""

    source: str
    title: str
    benchmark: str
    tasks: int
    formats: tuple[str, str, str]
    best: dict[str, Counts]
    best_turns: dict[str, Counts] = Field({})
    models: tuple[FormatRow, ...]


class ScoreRow(StoredModel):
    """A model's scores, in the order of the table's columns, and its published overall score."""

    name: str
    scores: tuple[float | None, ...]
    overall: float | None = None


class ScoreTable(StoredModel):
    """Tables 5 and A.8. ``averaged`` are the columns of which the overall score is the mean."""

    source: str
    title: str
    columns: tuple[str, ...]
    averaged: tuple[str, ...]
    models: tuple[ScoreRow, ...]


class MintRow(StoredModel):
    """MINT at k = 5. Counts and success against k are only known of models whose runs are published."""

    name: str
    id: float
    od: float
    solved: dict[str, int] | None = None
    success_by_k: tuple[float, ...] | None = None


class MintTable(StoredModel):
    """MINT's eight sets with their number of tasks, those in the domain of the paper's training data first."""

    source: str
    title: str
    sets: dict[str, int]
    in_domain: tuple[str, ...]
    models: tuple[MintRow, ...]

    @property
    def out_of_domain(self) -> tuple[str, ...]:
        """The other sets."""
        return tuple(name for name in self.sets if name not in self.in_domain)


Published = TypeVar("Published", bound=StoredModel)


@cache
def _read(name: str, form: type[Published]) -> Published:
    return form.model_validate(yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8")))


def api_bank() -> FormatTable:
    """Table 2."""
    return _read("api_bank", FormatTable)


def m3tooleval() -> FormatTable:
    """Table 3."""
    return _read("m3tooleval", FormatTable)


def codeactagent() -> ScoreTable:
    """Table 5."""
    return _read("codeactagent", ScoreTable)


def ablation() -> ScoreTable:
    """Table A.8."""
    return _read("ablation", ScoreTable)


def mint() -> MintTable:
    """The counts behind the MINT columns of Table 5."""
    return _read("mint", MintTable)
