"""Measured figures, their targets, and their table."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field, computed_field


class Figure(BaseModel):
    """A row: our value, the baseline's, the targets, and whether they are met. None for values that do not exist.

    Dump it with ``by_alias=True``: the JSON key of ``baseline`` is ``rival``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """The measured quantity and its unit."""
    ours: float | None
    """None if it could not be measured, which misses every target."""
    baseline: float | None = Field(None, serialization_alias="rival")
    at_most: float | None = None
    at_least: float | None = None
    ratio_at_least: float | None = None
    note: str = ""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def ratio(self) -> float | None:
        """How many times better our value is: larger is better with an ``at_least`` target, smaller otherwise."""
        if not self.ours or not self.baseline:
            return None
        return self.ours / self.baseline if self.at_least is not None else self.baseline / self.ours

    @computed_field  # type: ignore[prop-decorator]
    @property
    def met(self) -> bool | None:
        """Whether all targets are met; None without targets."""
        if self.at_most is None and self.at_least is None and self.ratio_at_least is None:
            return None
        if self.ours is None:
            return False
        return (
            (self.at_most is None or self.ours <= self.at_most)
            and (self.at_least is None or self.ours >= self.at_least)
            and (self.ratio_at_least is None or (self.ratio or 0) >= self.ratio_at_least)
        )


HEAD = "| figure | ours | stock | ratio | target | |\n|---|---|---|---|---|---|"


def row(figure: Figure) -> str:
    """One line of the table under :data:`HEAD`."""
    targets = []
    if figure.at_most is not None:
        targets.append(f"≤ {figure.at_most:g}")
    if figure.at_least is not None:
        targets.append(f"≥ {figure.at_least:,g}")
    if figure.ratio_at_least is not None:
        targets.append(f"≥ {figure.ratio_at_least:g}×")
    ratio = "–" if figure.ratio is None else f"{figure.ratio:.1f}×"
    verdict = {None: "", True: "met", False: "MISSED"}[figure.met] + (f" ({figure.note})" if figure.note else "")
    cells = (figure.name, _number(figure.ours), _number(figure.baseline), ratio, ", ".join(targets) or "–", verdict)
    return "| " + " | ".join(cells) + " |"


def missed(figures: Sequence[Figure]) -> list[Figure]:
    """The figures with a target that is not met."""
    return [figure for figure in figures if figure.met is False]


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 or float(value).is_integer() else f"{value:.2f}"
