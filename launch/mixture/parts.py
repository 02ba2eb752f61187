"""The parts of the paper's general mixture: where each comes from, and its rule.

Contract: sizes and rules are those of the paper's scripts; the number of records that they found is in
:attr:`Part.published`. Which 50,000 or 10,000 are drawn depends on the seed, but not in the way of the paper's
generator, so the drawn records are others than the paper's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from launch.mixture.sharegpt import sharegpt
from launch.mixture.steps import Conversation, Row, Steps, record

_HUB = "https://huggingface.co/datasets"
Rule = Callable[[Iterable[Row], Steps], Iterator[dict[str, Any]]]
"""Rows → records, each filter counted."""


@dataclass(frozen=True)
class Part:
    """A part of the mixture.

    Attributes:
        rule: rows → records.
        files: its files below a data root.
        addresses: where the files can be downloaded.
        sample: number of records that are drawn; None for all.
        published: records in the paper's mixture.
        licence: licence of the data.
    """

    rule: Rule
    files: tuple[str, ...]
    addresses: tuple[str, ...]
    sample: int | None
    published: int
    licence: str


def openorca(rows: Iterable[Row], steps: Steps) -> Iterator[dict[str, Any]]:
    """Questions with chains of thought: those of which the id begins with ``cot.``."""
    kept = steps.through("id begins with cot.", rows, lambda row: str(row.get("id", "")).startswith("cot."))
    for row in steps.through("has question and answer", kept, _has_question_and_answer):
        yield record(f"openorca/{row['id']}", "openorca", _question(row))


def _has_question_and_answer(row: Row) -> bool:
    return all(isinstance(row.get(key), str) and row[key].strip() for key in ("question", "response"))


def _question(row: Row) -> Conversation:
    """The system turn is there even when it is empty, as in the paper's data."""
    return [
        {"role": "system", "content": row.get("system_prompt") or ""},
        {"role": "user", "content": row["question"]},
        {"role": "assistant", "content": row["response"]},
    ]


def capybara(rows: Iterable[Row], steps: Steps) -> Iterator[dict[str, Any]]:
    """Pairs of input and output as turns of user and assistant."""
    for number, row in steps.through("pairs are complete", enumerate(rows), lambda one: _complete(one[1])):
        yield record(f"capybara/{number}", "capybara", _pairs(row))


def _complete(row: Row) -> bool:
    pairs = row.get("conversation")
    return (
        isinstance(pairs, list)
        and bool(pairs)
        and all(
            isinstance(pair, dict) and all(isinstance(pair.get(key), str) for key in ("input", "output"))
            for pair in pairs
        )
    )


def _pairs(row: Row) -> Conversation:
    turns: Conversation = []
    for pair in row["conversation"]:
        turns.append({"role": "user", "content": pair["input"]})
        turns.append({"role": "assistant", "content": pair["output"]})
    return turns


PARTS: dict[str, Part] = {
    "openorca": Part(
        openorca,
        ("openorca/1M-GPT4-Augmented.parquet", "openorca/3_5M-GPT3_5-Augmented.parquet"),
        (f"{_HUB}/Open-Orca/OpenOrca",),
        50_000,
        50_000,
        "MIT",
    ),
    "sharegpt": Part(
        partial(sharegpt, source="sharegpt", min_turns=4),
        ("sharegpt/ShareGPT_V3_unfiltered_cleaned_split_no_imsorry.json",),
        (f"{_HUB}/anon8231489123/ShareGPT_Vicuna_unfiltered",),
        10_000,
        10_000,
        "Apache-2.0",
    ),
    "sharegpt_gpt4": Part(
        partial(sharegpt, source="sharegpt_gpt4", min_turns=2),
        ("sharegpt_gpt4/sharegpt_gpt4.json",),
        (f"{_HUB}/openchat/openchat_sharegpt_v3",),
        None,
        6_599,
        "MIT",
    ),
    "capybara": Part(
        capybara,
        ("capybara/Verified-Camel.jsonl", "capybara/Pure-Dove.jsonl", "capybara/LessWrong-Amplify-Instruct.jsonl"),
        (f"{_HUB}/LDJnr/Verified-Camel", f"{_HUB}/LDJnr/Pure-Dove", f"{_HUB}/LDJnr/LessWrong-Amplify-Instruct"),
        None,
        4_647,
        "Apache-2.0",
    ),
}
"""The parts by name, in the order of the paper's table 4."""
