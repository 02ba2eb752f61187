"""Functions of the domain ``trade_calculator``."""

from __future__ import annotations

from typing import Any, ClassVar

from rollout.families.base import Toolset
from rollout.families.m3tooleval.calculator import calculate


class Trade(Toolset):
    """Computes the values of trades. Without state."""

    kind: ClassVar[str | None] = "m3tooleval-trade"
    names = (
        "convert_currency",
        "calculate_tariff",
        "estimate_final_value",
        "calculator",
        "find_minimum",
        "find_maximum",
    )

    def convert_currency(self, base_price: float, conversion_rate: float) -> float:
        """Returns a price in local currency."""
        return base_price * conversion_rate

    def calculate_tariff(self, price: float, tariff_rate: float) -> float:
        """Returns the tariff on a converted price; tariff_rate is in percent."""
        return price * tariff_rate / 100

    def estimate_final_value(self, price: float, tariff: float) -> float:
        """Returns the final trade value: a price and the tariff on it, both in the same currency."""
        return price + tariff

    def calculator(self, expression: str) -> Any:
        """Returns the value of an arithmetic expression: 14 for "2 + (3 * 4)"."""
        return calculate(expression)

    def find_minimum(self, *args: float | list[float]) -> Any:
        """Returns the smallest of the arguments, which are numbers."""
        return min(args)

    def find_maximum(self, *args: float | list[float]) -> Any:
        """Returns the largest of the arguments, which are numbers."""
        return max(args)
