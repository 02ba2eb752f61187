"""Writes the reference pages that follow from the code: configuration, command line, Python API.

Contract: run as a program it rewrites ``configuration.md``, ``cli.md``, ``families.md``, ``benchmarks.md`` and
``python-api.md`` of ``docs/reference``; as a hook of mkdocs it does so before each build. ``tests/test_docs.py`` fails
when a committed page differs. The configuration comes from the JSON schema of :class:`launch.config.LoopConfig`, the
command line from the commands of :mod:`launch.cli`, families and benchmarks from what each says of itself, the names of
the API from ``__all__`` of each room; mkdocstrings fills in their docstrings.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference"
PACKAGES = ("sandbox", "codeact_train", "codeact_train.prepare", "codeact_train.plan", "rollout", "eval")
NOTE = "<!-- Written by docs/generate.py; do not edit. -->\n\n"
FAMILIES = """The families that read a data set. `codeact tasks list` shows which data are on this machine,
`codeact tasks fetch FAMILY` downloads them, `codeact tasks validate FAMILY` judges their answers without a model. The
families `procedural` and `tool_suite` make their tasks and need no data. A task has the same id and the same content
digest in every run. Rows that are no tasks are counted by reason. [Add a task
family](../how-to/add-a-task-family.md) says how to bring one.
"""
BENCHMARKS = """What a checkpoint can be measured on, besides any set of tasks. A benchmark fixes its tasks, protocols
and how completions are drawn; `codeact benchmarks list` shows them, `codeact benchmarks validate` checks them without
a model. The data are those of the task family. [Add a benchmark](../how-to/add-a-benchmark.md) says how to bring one.
"""
ANSWERS = """
## How answers are checked

`codeact tasks validate` gives each grader the data set's answers, which must be right, and answers made from them,
which must be wrong. {} must be wrong for every grader that needs no judge.

| grader | right | wrong |
|---|---|---|
"""
BOUNDS = {"minimum": "≥ {}", "exclusiveMinimum": "> {}", "maximum": "≤ {}", "exclusiveMaximum": "< {}"}
Schema = dict[str, Any]


def on_pre_build(config: Any) -> None:
    """Hook of mkdocs: bring the pages up to date before a build, which removes everything in the folder of the site."""
    site = Path(config.site_dir)
    if site.is_dir() and any(site.iterdir()) and not (site / "sitemap.xml").is_file():
        raise SystemExit(f"site_dir={site}: this folder does not hold a site of mkdocs; give another folder")
    write()


def write() -> None:
    """Write every page whose text has changed."""
    for path, text in pages().items():
        if path.exists() and NOTE.strip() not in path.read_text(encoding="utf-8"):
            raise SystemExit(f"{path} was not written by docs/generate.py; move it elsewhere")
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def pages() -> dict[Path, str]:
    """Path and text of each generated page."""
    os.environ["COLUMNS"] = "120"
    sys.path.insert(0, str(ROOT))
    return {
        REFERENCE / "configuration.md": configuration(),
        REFERENCE / "cli.md": command_line(),
        REFERENCE / "families.md": families(),
        REFERENCE / "benchmarks.md": benchmarks(),
        REFERENCE / "python-api.md": python_api(),
    }


def configuration() -> str:
    """A table for each section of the configuration."""
    from launch.config import LoopConfig

    schema = LoopConfig.model_json_schema()
    parts = [
        "# Configuration\n\n" + NOTE,
        "One YAML file describes a run; each section belongs to the verb of its name. Every value can be overridden on "
        "the command line as `section.key=value`, and `--print-config` prints the result. Unknown keys are errors.\n\n"
        "`extends: FILE` merges a file over the one it names. The first line `# yaml-language-server: "
        "$schema=schema.json` gives editors completion and checks; `codeact schema` prints the schema, and "
        "`configs/schema.json` holds it.\n\n",
        "## The file\n\n" + _table(schema, schema),
    ]
    for name, section in schema["properties"].items():
        reference = _reference(section)
        if reference:
            parts.append(f"\n## {name}\n\n" + _section(schema, reference, name))
    return "".join(parts)


def _section(schema: Schema, name: str, path: str) -> str:
    """The table of one model, then those of the models its keys hold."""
    model = schema["$defs"][name]
    text = _one_line(model.get("description", "")) + "\n\n" + _table(schema, model)
    for key, field in model["properties"].items():
        inner = _reference(field)
        if inner:
            text += f"\n### {path}.{key}\n\n" + _section(schema, inner, f"{path}.{key}")
    return text


def _table(schema: Schema, model: Schema) -> str:
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for key, field in model["properties"].items():
        default = "see below" if _reference(field) else f"`{json.dumps(field.get('default'), ensure_ascii=False)}`"
        meaning = _one_line(field.get("description") or _described(schema, field))
        cells = (f"`{key}`", _type(field), default, meaning)
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _type(field: Schema) -> str:
    """The type of a value in words, with its bounds."""
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    if "anyOf" in field:
        return " or ".join(_type(choice) for choice in field["anyOf"])
    if "$ref" in field:
        return "section"
    if isinstance(field.get("additionalProperties"), dict) and "$ref" in field["additionalProperties"]:
        return "sections by name"
    if field.get("type") == "array":
        return f"list of {_type(field.get('items', {}))}".replace("list of section", "list of sections")
    bounds = [text.format(field[key]) for key, text in BOUNDS.items() if key in field]
    return " ".join([field.get("type", "any"), *bounds])


def _reference(field: Schema) -> str | None:
    """The model a key holds: alone, in a list, or under names."""
    named = field.get("additionalProperties")
    inner = named if isinstance(named, dict) else field.get("items", field)
    choices = [inner, *inner.get("anyOf", [])]
    found = [choice["$ref"] for choice in choices if "$ref" in choice]
    return found[0].rpartition("/")[2] if found else None


def _described(schema: Schema, field: Schema) -> str:
    """The description of the model a key holds; pydantic leaves the key's own out where both are equal."""
    name = _reference(field)
    return str(schema["$defs"][name].get("description", "")) if name else ""


def _one_line(text: str) -> str:
    """Prose of a docstring as Markdown on one line."""
    plain = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text.partition("\n\n")[0].replace("``", "`"))
    return " ".join(plain.split())


def command_line() -> str:
    """Every command with its arguments and options, as ``--help`` shows them."""
    import typer
    from typer.cli import get_docs_for_click

    from launch.cli import app

    command = typer.main.get_command(app)
    _remove_hidden(command)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command), name="codeact", title="Command line")
    title, _, rest = text.partition("\n")
    for short, whole in _summaries(command):
        rest = rest.replace(f": {short}\n", f": {whole}\n")
    return title + "\n\n" + NOTE + re.sub(r"(?<!`)``(?!`)", "`", rest.strip()) + "\n"


def _remove_hidden(group: Any) -> None:
    """Leave hidden commands out."""
    for name, command in list(getattr(group, "commands", {}).items()):
        if command.hidden:
            del group.commands[name]
        else:
            _remove_hidden(command)


def _summaries(command: Any) -> Iterator[tuple[str, str]]:
    """The cut and the whole summary of every command."""
    for inner in getattr(command, "commands", {}).values():
        yield inner.get_short_help_str(), inner.get_short_help_str(limit=200)
        yield from _summaries(inner)


def families() -> str:
    """A section for each family that reads a data set, and how the answers of each grader are checked."""
    from rollout.checks.validate.answers import EMPTY, FORMS
    from rollout.families import data_families

    text = "# Task families\n\n" + NOTE + FAMILIES
    for name, family in data_families().items():
        text += f"\n## {name}\n\n" + "\n".join(_family(family.info)) + "\n"
    text += ANSWERS.format(" and ".join(f"`{one or '(nothing)'}`" for one in EMPTY))
    return text + "".join(f"| `{grader}` | {form.how} |\n" for grader, form in FORMS.items())


def _family(info: Any) -> Iterator[str]:
    """The lines of a family's section."""
    tools = ", ".join(f"`{tool}`" for tool in info.tools)
    grader = f"`{info.grader}`" if info.grader else "that of the task"
    yield f"{info.title}. Licence: {info.licence}. Grader: {grader}. Protocol: `{info.protocol}`." + (
        f" Functions: {tools}." if tools else ""
    )
    if info.splits:
        yield "\n| split | tasks | read from | original |\n|---|---|---|---|"
    for split, described in info.splits.items():
        grader = f"; grader `{info.graders[split]}`" if split in info.graders else ""
        files = ", ".join(f"`{source.files[0]}`" for source in info.sources.get(split, ()) if source.files)
        origins = ", ".join(filter(None, (_origin(source) for source in info.sources.get(split, ()))))
        yield f"| `{split}` | {described}{grader} | {files} | {origins} |"
    if info.presets:
        yield "\nPresets (`tasks.preset`):\n"
        yield from (
            f"- `{name}`: {one.count:,} tasks of `{one.split}`. {one.rule}" for name, one in info.presets.items()
        )
    if info.defects:
        yield "\nKnown defects, and what is done about each:\n"
        yield from (f"- {defect}" for defect in info.defects)


def _origin(source: Any) -> str:
    """Links to the original and to the hub."""
    checked = " with SHA-256" if source.sha256 else ""
    original = [] if not source.url else [source.url if " " in source.url else f"[file]({source.url}){checked}"]
    return ", ".join([*original, *([f"hub `{source.hub}`"] if source.hub else [])])


def benchmarks() -> str:
    """A section for each registered benchmark."""
    from eval import BENCHMARKS as REGISTERED
    from eval import BenchmarkSpec

    text = "# Benchmarks\n\n" + NOTE + BENCHMARKS
    for name in REGISTERED.names():
        part = REGISTERED.get(name)
        lines = _benchmark(part) if isinstance(part, BenchmarkSpec) else iter([_one_line(part.__doc__ or "")])
        text += f"\n## {name}\n\n" + "\n".join(lines) + "\n"
    return text


def _benchmark(spec: Any) -> Iterator[str]:
    """The lines of a benchmark's section."""
    from rollout.families import data_families

    sets = spec.tasks if isinstance(spec.tasks, tuple) else (spec.tasks,)
    drawn, known = spec.sampling, data_families()
    of = " of the original" if all(one.family in known for one in sets) else ", made here"
    yield f"{spec.title}. Licence: {spec.licence}. {spec.size:,} tasks{of}."
    ways = ", ".join(f"{way}: `{protocol}`" for way, protocol in spec.protocols.items())
    own = ", ".join(f"{kind} {value:g}" for kind, value in spec.temperatures.items())
    heat = f"{drawn.temperature:g}{f' ({own})' if own else ''}"
    yield f"\nProtocols: {ways}. Temperature {heat}, at most {drawn.max_tokens:,} tokens a turn."
    if spec.score is not None:
        over = " over the kinds of tasks" if spec.score.mean_of == "kinds" else ""
        role = "Beside its accuracy stands" if spec.score.beside else "Its figure is"
        yield f"{role} the mean score{over}, from {spec.score.low:g} to {spec.score.high:g}."
    if spec.samples > 1:
        yield f"{spec.samples} episodes of each task."
    yield "\n| tasks | grader | read from | original |\n|---|---|---|---|"
    for one in sets:
        info = known[one.family].info if one.family in known else None
        sources = info.sources.get(one.split, ()) if info else ()
        name = spec.grader or (info.graders.get(one.split, info.grader) if info else "")
        grader = f"`{name}`" if name else "that of the task"
        files = ", ".join(f"`{source.files[0]}`" for source in sources if source.files)
        origins = ", ".join(dict.fromkeys(filter(None, map(_origin, sources))))
        yield f"| `{one.family}`, `{one.split}` | {grader} | {files} | {origins} |"
    if spec.defects:
        yield "\nKnown defects of the original, and what is done about each:\n"
        yield from (f"- {defect}" for defect in spec.defects)


def python_api() -> str:
    """The public names of the rooms, for mkdocstrings to fill in."""
    text = "# Python API\n\n" + NOTE + "The names that the rooms export. Everything else may change without notice.\n"
    for package in PACKAGES:
        module = importlib.import_module(package)
        text += f"\n## {package}\n\n{(module.__doc__ or '').partition(chr(10))[0]}\n"
        text += "".join(f"\n::: {package}.{name}\n" for name in sorted(getattr(module, "__all__", ())))
    return text


if __name__ == "__main__":
    write()
