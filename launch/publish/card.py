"""The card of a data set: ``README.md`` with the front matter that the hub reads.

Contract: the card says how many records and tokens each split and family has (the paper's table 4), how often each
model solved the tasks of each family, and why episodes were dropped. The same input gives the same text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
"""The hub's names for sizes, by the number of records below which they hold."""


@dataclass(frozen=True)
class CardFacts:
    """What a card says.

    Attributes:
        title: heading.
        licence: licence of the data, in the hub's words; ``other`` when it is not known.
        splits: split → table of :func:`rollout.token_table`.
        files: split → pattern of its files.
        tokenizer: name of the tokenizer that counted; empty without one.
        selection: content of ``selection.json``, or empty.
        seed: seed of the order of records.
    """

    title: str
    licence: str
    splits: Mapping[str, Mapping[str, Mapping[str, Any]]]
    files: Mapping[str, str]
    tokenizer: str
    seed: int
    selection: Mapping[str, Any] = field(default_factory=dict)


def card(facts: CardFacts) -> str:
    """The text of ``README.md``."""
    from huggingface_hub import DatasetCardData

    total = sum(table["total"]["instances"] for table in facts.splits.values())
    size = next((name for limit, name in SIZES if total < limit), "n>1M")
    configs = [
        {
            "config_name": "default",
            "data_files": [{"split": split, "path": path} for split, path in facts.files.items()],
        }
    ]
    front = DatasetCardData(
        pretty_name=facts.title, license=facts.licence, language="en", task_categories=["text-generation"],
        size_categories=[size], tags=["agents", "code", "codeact"], configs=configs,
    )  # fmt: skip
    return f"---\n{front.to_yaml()}\n---\n\n" + "\n".join(_body(facts)) + "\n"


def statistics_lines(splits: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Iterator[str]:
    """The table of records and tokens, in Markdown; with several splits, the mixture comes last."""
    with_tokens = all("tokens" in table["total"] for table in splits.values())
    yield "| split | family | instances | turns |" + (" tokens | average |" if with_tokens else "")
    yield "|---|---|---:|---:|" + ("---:|---:|" if with_tokens else "")
    for split, table in splits.items():
        for family, row in table.items():
            name = "**all**" if family == "total" else family
            if family != "total" or len(table) > 2:
                yield _line(split, name, row, with_tokens=with_tokens)
    if len(splits) > 1:
        yield _line(
            "**mixture**", "**all**", _sum([table["total"] for table in splits.values()]), with_tokens=with_tokens
        )


def success_lines(success: Mapping[str, Mapping[str, Mapping[str, int]]]) -> Iterator[str]:
    """The table of success by model and family, in Markdown: percent of the episodes, with their number."""
    models = sorted({model for row in success.values() for model in row})
    yield "| model | " + " | ".join(success) + " | all |"
    yield "|---|" + "---:|" * (len(success) + 1)
    for model in models:
        rows = [row.get(model, {"episodes": 0, "successes": 0}) for row in success.values()]
        everything = {key: sum(row[key] for row in rows) for key in ("episodes", "successes")}
        yield f"| {model} | " + " | ".join(map(_share, [*rows, everything])) + " |"


def _body(facts: CardFacts) -> Iterator[str]:
    yield f"# {facts.title}\n"
    yield (
        "Conversations in which a language model acts by writing Python. Each record has an `id`, its `source`, the "
        "`group` of records of one task, and `conversations`: turns with `role`, `content` and `weight` (the weight of "
        "its loss, 1 when empty; 0 keeps a turn as context). "
        f"The order is a shuffle with seed {facts.seed}.\n"
    )
    yield "## Statistics\n"
    yield from statistics_lines(facts.splits)
    if facts.tokenizer:
        yield f"\nTokens of the texts of all turns, by the tokenizer of {facts.tokenizer}, without a chat template."
    selection = facts.selection
    if selection.get("success"):
        yield "\n## Success of the models\n"
        yield "Percent of the episodes that solved their task, with the number of episodes.\n"
        yield from success_lines(selection["success"])
    if "dropped" in selection:
        yield "\n## Selection\n"
        yield f"{selection['kept']} of {selection['input']} episodes were kept.\n"
        yield "| dropped because | episodes |\n|---|---:|"
        yield from (f"| {reason} | {count:,} |" for reason, count in selection["dropped"].items())
    if "tiers" in selection:
        tiers = selection["tiers"]
        yield "\n| tier | episodes | different tasks |\n|---|---:|---:|"
        yield from (
            f"| {name} | {tiers[name]['episodes']:,} | {tiers[name]['tasks']:,} |" for name in ("easy", "medium")
        )
        yield f"| hard (no model solved it) | | {tiers['hard']['tasks']:,} |"
    if "decontamination" in selection:
        compared = selection["decontamination"]["compared"]
        sets = ", ".join(f"{name} ({count:,} tasks)" for name, count in compared.items())
        yield f"\nNo record is of, or contains the prompt of, an evaluation task of: {sets}."


def _line(split: str, family: str, row: Mapping[str, Any], *, with_tokens: bool) -> str:
    cells = [split, family, f"{row['instances']:,}", f"{row['turns']:,}"]
    if with_tokens:
        cells += [f"{row['tokens']:,}", f"{row['tokens'] / max(row['instances'], 1):,.2f}"]
    return "| " + " | ".join(cells) + " |"


def _sum(rows: list[Mapping[str, Any]]) -> dict[str, int]:
    keys = [key for key in ("instances", "turns", "tokens") if all(key in row for row in rows)]
    return {key: sum(row[key] for row in rows) for key in keys}


def _share(row: Mapping[str, int]) -> str:
    return f"{row['successes'] / row['episodes']:.1%} of {row['episodes']:,}" if row["episodes"] else "–"
