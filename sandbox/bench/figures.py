"""One measured figure, what it is held against, and the table of them."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, computed_field


class Figure(BaseModel):
    """A row: ours, the rival's, the targets, and whether they are met. None where nothing is measured or asked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """What is measured, with its unit."""
    ours: float | None
    """None when it could not be measured: missed."""
    rival: float | None = None
    at_most: float | None = None
    at_least: float | None = None
    ratio_at_least: float | None = None
    note: str = ""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def ratio(self) -> float | None:
        """How many times better ours is; less is better where the target is a most, more where it is a least."""
        if not self.ours or not self.rival:
            return None
        return self.ours / self.rival if self.at_least is not None else self.rival / self.ours

    @computed_field  # type: ignore[prop-decorator]
    @property
    def met(self) -> bool | None:
        """Whether every target is met; None without targets."""
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
    cells = (figure.name, _number(figure.ours), _number(figure.rival), ratio, ", ".join(targets) or "–", verdict)
    return "| " + " | ".join(cells) + " |"


def missed(figures: Sequence[Figure]) -> list[Figure]:
    """Those with a target that is not met."""
    return [figure for figure in figures if figure.met is False]


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 or float(value).is_integer() else f"{value:.2f}"
