"""The verbs that work on a run: each takes its configuration, loads it and calls a stage.

Heavy packages are imported inside the verbs, so that ``--help`` stays fast.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer

from launch import config as configs
from launch.console import done, say

ConfigFile = Annotated[Path, typer.Argument(help="YAML file of the run, for example configs/demo.yaml.")]
Overrides = Annotated[list[str] | None, typer.Argument(help="Values that replace the file's: section.key=value.")]
PrintConfig = Annotated[bool, typer.Option("--print-config", help="Show the resolved configuration and stop.")]
Parity = Annotated[
    Literal["off", "paper"] | None,
    typer.Option(
        help="paper: pack and weight the data as the paper's code did, including its defects (prepare.parity)."
    ),
]


def _staged(stage: Callable[[configs.LoopConfig], str], config: configs.LoopConfig, *, shared: bool = False) -> None:
    """Runs a stage while this process holds the run folder; ``shared``: together with the job's other machines."""
    from launch.run_dir import RunDir

    started, folder = time.monotonic(), RunDir(config.run)
    with folder.held(shared=shared):
        sentence = stage(config)
        folder.write_inputs(configs.dump(config))  # last, so that a refused stage writes nothing
    done(sentence, time.monotonic() - started)


def loaded(file: Path, overrides: list[str] | None, print_config: bool) -> configs.LoopConfig:
    """The configuration of a verb; with ``--print-config`` it is printed, and the command ends."""
    config = configs.load(file, overrides or [])
    if print_config:
        typer.echo(configs.dump(config), nl=False)
        raise typer.Exit
    return config


def _with_parity(overrides: list[str] | None, parity: str | None) -> list[str]:
    return [*(overrides or []), *([f"prepare.parity={parity}"] if parity else [])]


def serve_model(file: ConfigFile, overrides: Overrides = None, print_config: PrintConfig = False) -> None:
    """Serve `model` over an OpenAI-compatible HTTP API with the settings of `serve`; Ctrl-C ends it."""
    config = loaded(file, overrides, print_config)
    from launch.inputs.resolve_model import resolve_model
    from launch.run_dir import RunDir
    from launch.serve import serve_until_stopped

    RunDir(config.run).claim()
    folder, log = resolve_model(config.model), config.run / "logs" / "serve.log"
    serve_until_stopped(folder, config.serve, log, lambda url: say(f"serving {folder.name} at {url}; Ctrl-C ends it"))


def loop(
    file: ConfigFile, overrides: Overrides = None, print_config: PrintConfig = False, parity: Parity = None
) -> None:
    """Run everything: collect, select, prepare, train, evaluate, report."""
    config = loaded(file, _with_parity(overrides, parity), print_config)
    from eval import terminal_report
    from launch.loop import run_loop

    run_loop(config)
    typer.echo(terminal_report(config.run))


def collect(
    file: ConfigFile,
    overrides: Overrides = None,
    print_config: PrintConfig = False,
    plan: Annotated[bool, typer.Option("--plan", help="Show tasks, costs and missing data; run nothing.")] = False,
    prices: Annotated[Path | None, typer.Option(help="With --plan: YAML file of prices, as of `bank stats`.")] = None,
    json: Annotated[bool, typer.Option("--json", help="With --plan: print JSON.")] = False,
) -> None:
    """Run episodes on Ray actors, each with its own kernel, into the trajectory store."""
    from launch.cli import collect_plan as verb

    verb.check_options(plan=plan, of_plan={"--json": json, "--prices": prices is not None})
    config = loaded(file, overrides, print_config)
    if plan:
        verb.plan_collection(config, prices, as_json=json)
    else:
        from launch import stages

        _staged(stages.collect, config)


def select(file: ConfigFile, overrides: Overrides = None, print_config: PrintConfig = False) -> None:
    """Filter trajectories into training records and count the reasons for dropping the others."""
    config = loaded(file, overrides, print_config)
    from launch import stages

    _staged(stages.select, config)


def prepare(
    file: ConfigFile, overrides: Overrides = None, print_config: PrintConfig = False, parity: Parity = None
) -> None:
    """Tokenise and pack the records, set the loss weight of each token, write the corpus and its ledger."""
    config = loaded(file, _with_parity(overrides, parity), print_config)
    from launch import stages

    _staged(stages.prepare, config)


def train(
    file: Annotated[Path | None, typer.Argument(help="YAML file of the run.")] = None,
    overrides: Overrides = None,
    print_config: PrintConfig = False,
    parity: Parity = None,
    plan: Annotated[bool, typer.Option("--plan", help="Estimate memory and time on `launch.cluster`.")] = False,
    slurm: Annotated[bool, typer.Option("--slurm", help="Write a SLURM script for `launch.cluster`.")] = False,
    json: Annotated[bool, typer.Option("--json", help="With --plan: print JSON.")] = False,
    validate: Annotated[bool, typer.Option("--validate", help="With --plan: compare with published runs.")] = False,
    packs: Annotated[int | None, typer.Option("--packs", min=1, help="With --plan: packs, before prepare.")] = None,
    dry_run: Annotated[bool, typer.Option(help="With --plan: also train two steps of a tiny model on CPU.")] = True,
) -> None:
    """Train on the corpus under torchrun; each epoch ends with a checkpoint and a Hugging Face export."""
    from launch.cli import plan as verb

    verb.check_options(plan=plan, slurm=slurm, of_plan={"--json": json, "--validate": validate, "--packs": bool(packs)})
    if plan and validate:
        raise typer.Exit(verb.check_cost_model(json))
    if file is None:
        raise ValueError("train: no configuration; give a YAML file, for example configs/demo.yaml")
    overrides = _with_parity(overrides, parity)
    config = loaded(file, overrides, print_config)
    if plan:
        verb.plan(config, shlex.join([str(file), *overrides]), packs, as_json=json, with_dry_run=dry_run)
    elif slurm:
        done(verb.write_script(config))
    else:
        from launch import stages

        stages.check_before_start(config)
        _staged(stages.train, config, shared=config.launch.nodes > 1)


def export(
    file: ConfigFile,
    out: Annotated[Path, typer.Option("--out", help="Hugging Face folder to write.")],
    overrides: Overrides = None,
    print_config: PrintConfig = False,
) -> None:
    """Write the newest checkpoint as a Hugging Face folder (train does this at the end of each epoch)."""
    config = loaded(file, overrides, print_config)
    from launch import stages

    done(stages.export(config, out.expanduser()))


def evaluate(file: ConfigFile, overrides: Overrides = None, print_config: PrintConfig = False) -> None:
    """Run the held-out tasks with the base model and the export of every epoch."""
    config = loaded(file, overrides, print_config)
    from launch import stages

    _staged(stages.evaluate, config)


def report(file: ConfigFile, overrides: Overrides = None, print_config: PrintConfig = False) -> None:
    """Write report.html and report.md of a run and print the latter."""
    config = loaded(file, overrides, print_config)
    from eval import terminal_report
    from launch import stages

    done(stages.report(config))
    typer.echo(terminal_report(config.run))


def schema(
    out: Annotated[Path | None, typer.Option("--out", help="File to write; default is standard output.")] = None,
) -> None:
    """Print the JSON schema of the configuration, for completion in an editor and for configs/schema.json."""
    from launch.config.schema import json_schema, write_schema

    if out is None:
        typer.echo(json_schema(), nl=False)
    else:
        out = out.expanduser()
        write_schema(out)
        done(f"wrote {out}")
