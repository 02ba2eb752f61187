"""The table of a bank: each model's episodes, success by family, tokens and money (the paper's, appendix G)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from rollout.bank.trajectory import Trajectory
from rollout.postprocess.costs.prices import Price

Row = dict[str, Any]
TOKENS = ("prompt_tokens", "cached_tokens", "completion_tokens")


def bank_table(trajectories: Iterable[Trajectory], prices: Mapping[str, Price] | None = None) -> Row:
    """Counts by model and by family.

    Returns:
        ``{"models": {model: {"episodes", "solved", "success", "cells", tokens, "tokens_per_episode", "money",
        "families": {family: {"episodes", "solved", "success", "tasks", "kinds"}}}}, "judges": {model: {"calls", tokens,
        "money"}}, "episodes", "money", "without_price"}``. ``success`` is a share. ``money`` is None without a price.
    """
    prices = prices or {}
    models: dict[str, list[Trajectory]] = defaultdict(list)
    judges: dict[str, Row] = {}
    for one in trajectories:
        models[one.model].append(one)
        if one.judge is not None:
            judge = judges.setdefault(one.judge.model, {"calls": 0, "prompt_tokens": 0, "completion_tokens": 0})
            for key in judge:
                judge[key] += getattr(one.judge, key)
    for name, judge in judges.items():
        judge["money"] = _money(prices.get(name), judge)
    rows = {name: _model(members, prices.get(name)) for name, members in sorted(models.items())}
    billed = [*rows.items(), *judges.items()]
    priced = [row["money"] for _, row in billed if row["money"] is not None]
    return {
        "episodes": sum(map(len, models.values())),
        "models": rows,
        "judges": dict(sorted(judges.items())),
        "money": round(sum(priced), 6) if priced else None,
        "without_price": sorted({name for name, row in billed if row["money"] is None and _used(row)}),
    }


def _model(members: list[Trajectory], price: Price | None) -> Row:
    tokens = {key: sum(getattr(one.usage, key) for one in members) for key in TOKENS}
    families: dict[str, list[Trajectory]] = defaultdict(list)
    for one in members:
        families[one.task.family].append(one)
    used = tokens["prompt_tokens"] + tokens["completion_tokens"]
    return {
        **_success(members),
        "cells": sum(one.usage.cells for one in members),
        **tokens,
        "tokens_per_episode": round(used / len(members), 1),
        "money": _money(price, tokens),
        "families": {name: _family(group) for name, group in sorted(families.items())},
    }


def _family(members: list[Trajectory]) -> Row:
    kinds: dict[str, list[Trajectory]] = defaultdict(list)
    for one in members:
        kinds[one.task.kind].append(one)
    return {**_success(members), "kinds": {name: _success(group) for name, group in sorted(kinds.items())}}


def _success(members: list[Trajectory]) -> Row:
    solved = sum(one.outcome.success for one in members)
    return {
        "tasks": len({one.task.digest for one in members}),
        "episodes": len(members),
        "solved": solved,
        "success": round(solved / len(members), 4),
    }


def _used(row: Row) -> bool:
    return bool(row["prompt_tokens"] or row["completion_tokens"])


def _money(price: Price | None, row: Row) -> float | None:
    """None without a price, but 0 for what used no tokens, such as the expert."""
    if price is None:
        return None if _used(row) else 0.0
    return round(price.of(row["prompt_tokens"], row["completion_tokens"], row.get("cached_tokens", 0)), 6)
