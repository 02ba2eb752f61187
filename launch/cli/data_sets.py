"""The verbs of ``codeact records`` that make, count and publish data sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from launch.console import done, say
from launch.output_files import ReplaceOption, check_new

Tokenizer = Annotated[
    str | None, typer.Option(help="Model folder, hub id or built-in model of which the tokenizer counts tokens.")
]
Language = Annotated[str | None, typer.Option(help="Keep conversations of which the first turn is in this language.")]


def general(
    parts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PART=PATH...", help="openorca, sharegpt, sharegpt_gpt4 or capybara, and its file or NAME:SPLIT."
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="File of records to write; `.gz` compresses it.")] = Path(
        "general.jsonl"
    ),
    replace: ReplaceOption = False,
    data_root: Annotated[
        Path | None, typer.Option(help="Folder with the files of the parts; default: CODEACT_DATA.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the samples.")] = 42,
    language: Language = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Write the paper's general conversations, each part through its filters, as a file of records."""
    from launch.mixture import build_mixture
    from rollout import DataRoot

    given: dict[str, list[str]] = {}
    for one in parts or ():
        name, equals, path = one.partition("=")
        if not equals or not path:
            raise ValueError(f"{one}: write PART=PATH, such as openorca=1M-GPT4-Augmented.parquet")
        given.setdefault(name, []).append(path)
    check_new(out.expanduser(), replace)
    root = DataRoot(data_root).folder
    built, missing = build_mixture(given, out.expanduser(), data_root=root, seed=seed, keep=_in_language(language))
    if as_json:
        found = [{"part": part.name, "read": part.read, "left": part.left, "kept": part.kept} for part in built]
        typer.echo(json.dumps({"parts": found, "missing": missing}, indent=1))
    else:
        for part in built:
            typer.echo(f"{part.name}: {part.read:,} rows, {part.kept:,} records; the paper has {part.published:,}")
            for rule, left in part.left.items():
                typer.echo(f"  {left:>9,}  {rule}")
    for name, where in missing.items():
        say(f"{name} is left out; get {where}")
    done(f"wrote {sum(part.kept for part in built)} records to {out}")


def stats(
    sources: Annotated[
        list[str], typer.Argument(metavar="[SPLIT=]IN...", help="Files of records, folders, NAME:SPLIT.")
    ],
    tokenizer: Tokenizer = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the tables as JSON.")] = False,
) -> None:
    """Count records, turns and tokens by family, as the paper's table 4."""
    from launch.publish.build import records_of
    from launch.publish.card import statistics_lines
    from rollout import token_table

    _, count = _counter(tokenizer)
    tables = {name: token_table(records_of(path), count) for name, path in _splits(sources).items()}
    typer.echo(json.dumps(tables, indent=1) if as_json else "\n".join(statistics_lines(tables)))


def push(
    splits: Annotated[
        list[str], typer.Argument(metavar="SPLIT=FILE...", help="Splits, such as codeact=runs/x/records.jsonl.")
    ],
    folder: Annotated[Path | None, typer.Option(help="Folder to write the data set to.")] = None,
    hub: Annotated[str | None, typer.Option(help="Data set on the Hugging Face hub, owner/name.")] = None,
    title: Annotated[str, typer.Option(help="Heading of the card.")] = "CodeAct records",
    licence: Annotated[str, typer.Option("--license", help="Licence of the data, in the hub's words.")] = "other",
    selection: Annotated[
        Path | None, typer.Option(help="selection.json of the run: success of the models, filters.")
    ] = None,
    tokenizer: Tokenizer = None,
    seed: Annotated[int, typer.Option(help="Seed of the order of records.")] = 42,
    private: Annotated[
        bool, typer.Option("--private", help="A data set that the hub shows to its owner only.")
    ] = False,
) -> None:
    """Publish files of records as a data set with a card, in a folder or on the hub."""
    from launch.publish.build import Publication
    from launch.publish.transfer import push_to_folder, push_to_hub

    if (folder is None) == (hub is None):
        raise ValueError("records push: give one of --folder DIR and --hub OWNER/NAME")
    if nameless := [given for given in splits if "=" not in given]:
        raise ValueError(f"records push: {nameless[0]}: write SPLIT=FILE, such as codeact={nameless[0]}")
    name, count = _counter(tokenizer)
    what = Publication(
        splits=_splits(splits), title=title, licence=licence, selection=selection, seed=seed, count_tokens=count,
        tokenizer=name,
    )  # fmt: skip
    if hub is not None:
        tables, where = push_to_hub(what, hub, private=private)
    else:
        assert folder is not None
        tables, where = push_to_folder(what, folder.expanduser()), str(folder)
    counted = ", ".join(f"{table['total']['instances']} {split}" for split, table in tables.items())
    done(f"pushed {counted} records to {where}")


def pull(
    source: Annotated[str, typer.Argument(metavar="OWNER/NAME|FOLDER", help="A data set on the hub, or a folder.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for one file of records a split.")],
    revision: Annotated[str | None, typer.Option(help="Commit, branch or tag on the hub.")] = None,
) -> None:
    """Fetch a data set from the hub or a folder as files of records, one for each split."""
    from launch.publish import transfer

    counts = transfer.pull(source, out.expanduser(), revision=revision)
    done(f"wrote {', '.join(f'{count} {split}' for split, count in counts.items())} records to {out}")


def _splits(given: list[str]) -> dict[str, str]:
    """Split → file; a file without a split is named after itself."""
    found: dict[str, str] = {}
    for one in given:
        name, equals, path = one.partition("=")
        if not equals or Path(one).expanduser().exists():
            name, path = Path(one).name, one
        if name in found:
            raise ValueError(f"{one}: {name} is given twice; give each split its own name, SPLIT=FILE")
        found[name] = path
    return found


def _counter(tokenizer: str | None) -> tuple[str, Any]:
    if tokenizer is None:
        return "", None
    from launch.inputs.resolve_model import resolve_model
    from launch.publish.tokens import token_counter

    return Path(tokenizer).name, token_counter(resolve_model(tokenizer))


def _in_language(wanted: str | None) -> Any:
    """A filter of records by the language of their first turn; None without one."""
    if wanted is None:
        return None
    from rollout import language_of

    def keep(record: dict[str, Any]) -> bool:
        first = next((turn["content"] for turn in record["conversations"] if turn["role"] == "user"), "")
        return language_of(first) in (None, wanted)

    return keep
