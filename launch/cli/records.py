"""The verbs ``codeact records``: look at files of conversations, and convert them.

Exit codes of ``check``: 0 every record is read; 2 some are not, and the output names the first.
"""

from __future__ import annotations

import json
import re
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from launch.cli.data_sets import general, pull, push, stats
from launch.console import done, say
from launch.output_files import ReplaceOption

if TYPE_CHECKING:
    from launch.inputs.convert_records import Reading

NOT_ALL_READ = 2

records_app = typer.Typer(no_args_is_help=True, help="Look at files of conversations, and convert them to records.")

records_app.command()(general)
records_app.command()(stats)
records_app.command()(push)
records_app.command()(pull)

Sources = Annotated[
    list[str], typer.Argument(metavar="IN...", help="Files of conversations, folders of `datasets`, or NAME:SPLIT.")
]
Source = Annotated[str, typer.Argument(metavar="IN", help="A file of conversations, a folder, or NAME:SPLIT.")]
ToolCalls = Annotated[
    Literal["drop", "text"],
    typer.Option(help="text: write tools, calls and results into the text (prepare.reading.tool_calls)."),
]
EmptyReplies = Annotated[
    Literal["drop", "train"], typer.Option(help="train: keep replies without text (prepare.reading.empty_replies).")
]
Reasoning = Annotated[
    Literal["leave_out", "text"],
    typer.Option(help="text: write reasoning in front of the answer, in think tags (prepare.reading.reasoning)."),
]
MaskKeys = Annotated[
    list[str] | None,
    typer.Option(
        "--mask-key",
        metavar="KEY=weight|ignore",
        help="Meaning of a key such as train or loss: another name of `weight`, or none (prepare.reading.mask_keys).",
    ),
]
Encoding = Annotated[str | None, typer.Option(help="Encoding of text files; by default UTF-8, -16 or -32.")]


@records_app.command()
def convert(
    sources: Sources,
    out: Annotated[Path, typer.Option("--out", help="File of records to write; `.gz` compresses it.")],
    replace: ReplaceOption = False,
    tool_calls: ToolCalls = "drop",
    empty_replies: EmptyReplies = "drop",
    reasoning: Reasoning = "leave_out",
    mask_key: MaskKeys = None,
    encoding: Encoding = None,
) -> None:
    """Write conversations of any form as a file of records; those that cannot be read are listed beside it."""
    from launch.inputs import convert_records

    out = out.expanduser()
    reading = _reading(tool_calls, empty_replies, reasoning, mask_key, encoding)
    count = convert_records.convert(sources, out, reading, replace=replace)
    if count.dropped:
        say(f"dropped: {count.named()}; all are listed in {convert_records.dropped_file(out)}")
    _say_left_out(count.reasoning_left_out)
    done(f"wrote {count.sentence()} to {out}")


@records_app.command()
def check(
    sources: Sources,
    tool_calls: ToolCalls = "drop",
    empty_replies: EmptyReplies = "drop",
    reasoning: Reasoning = "leave_out",
    mask_key: MaskKeys = None,
    encoding: Encoding = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Read files of conversations as prepare does, and count what it would drop."""
    from launch.inputs import convert_records

    reading = _reading(tool_calls, empty_replies, reasoning, mask_key, encoding)
    results: list[dict[str, Any]] = []
    for source in sources:
        count = convert_records.count_records(source, reading)
        form = convert_records.described(source)
        results.append({"path": source, "form": form, "read": count.read, "kept": count.kept, "dropped": count.dropped})
        if as_json:
            continue
        typer.echo(f"{source}: {form}; {count.sentence()}")
        if count.kept:
            turns = ", ".join(f"{number} {role}" for role, number in count.turns.items())
            ids = f"; {count.without_id} without an id get one from their content" if count.without_id else ""
            typer.echo(f"  turns: {turns}{ids}")
        for sentence in count.first:
            typer.echo(f"  dropped: {sentence}")
        _say_left_out(count.reasoning_left_out)
    if as_json:
        typer.echo(json.dumps(results, indent=1))
    if any(result["kept"] < max(result["read"], 1) for result in results):
        raise typer.Exit(NOT_ALL_READ)


@records_app.command()
def show(
    source: Source,
    count: Annotated[int, typer.Option("--count", min=1, help="Records to show.")] = 3,
    tool_calls: ToolCalls = "drop",
    empty_replies: EmptyReplies = "drop",
    reasoning: Reasoning = "leave_out",
    mask_key: MaskKeys = None,
    encoding: Encoding = None,
) -> None:
    """Print the first records of a file as they are read, in the project's own form."""
    from codeact_train import Record
    from launch.inputs import convert_records

    reading = _reading(tool_calls, empty_replies, reasoning, mask_key, encoding)
    for place, item in islice(convert_records.records(source, reading), count):
        if isinstance(item, Record):
            text = json.dumps(json.loads(item.line()), indent=1, ensure_ascii=False)
            typer.echo(re.sub(r"[\x7f-\x9f]", lambda found: f"\\u{ord(found[0]):04x}", text))
        else:
            typer.echo(f"line {place}: {item.detail}", err=True)


def _reading(
    tool_calls: str, empty_replies: str, reasoning: str, mask_keys: list[str] | None, encoding: str | None
) -> Reading:
    from codeact_train import ReadingSettings
    from launch.inputs.convert_records import Reading

    meanings = dict(pair.rpartition("=")[::2] for pair in mask_keys or ())
    for key, meaning in meanings.items():
        if not key or meaning not in ("weight", "ignore"):
            raise ValueError(f"--mask-key {key}={meaning}: give KEY=weight or KEY=ignore")
    values = {"tool_calls": tool_calls, "empty_replies": empty_replies, "reasoning": reasoning, "mask_keys": meanings}
    return Reading(ReadingSettings.model_validate(values), encoding)


def _say_left_out(count: int) -> None:
    if count:
        say(f"reasoning of {count} records is left out; --reasoning text writes it into the text")
