"""The command ``codeact``: one verb a stage, one YAML file a run.

Exit codes: 0 done; 2 something in the input has to be mended, said in one sentence; 3 and 4 the trainer's, see
:mod:`codeact_train.exit_codes`; 75 interrupted with everything finished kept, start it again to go on (SLURM requeues
on it); 1 a fault of ours, with its traceback.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import typer
from typer.core import TyperGroup

from codeact_train import exit_codes
from launch import config as configs
from launch.cli.parity import prove_app
from launch.cli.sandbox import sandbox_app, serve_sandbox
from launch.console import done, refuse, say
from sandbox import __version__

INTERRUPTED = 75
MEND = 2


class PlainlyTold(TyperGroup):
    """Ends a command with a sentence and an exit code where a person can do something about it."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        """Runs the command."""
        from launch.submit.torchrun import TrainingStopped

        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            say("interrupted; everything finished is kept, the same command goes on from there")
            raise typer.Exit(INTERRUPTED) from None
        except TrainingStopped as stopped:
            told = (exit_codes.BAD_CONFIG, exit_codes.CHECK_FAILED, exit_codes.CORRUPT_STATE)
            if stopped.code not in told:  # then its sentence stands above already
                say(f"{stopped}; the same command goes on from the last checkpoint")
            raise typer.Exit(stopped.code if stopped.code in (*told, INTERRUPTED) else 1) from None
        except ValueError as fault:
            refuse(str(fault))
            raise typer.Exit(MEND) from None


app = typer.Typer(
    name="codeact",
    cls=PlainlyTold,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="""Train agents that act by writing Python: collect episodes, select and prepare them, train, evaluate, report.

**Start here:** `codeact loop configs/demo.yaml` runs everything on a small real model.

Every verb takes the same YAML file and uses its own section. Any value can be changed behind the file:

    codeact train configs/demo.yaml train.epochs=3 run=runs/three-epochs

`--print-config` shows the resolved configuration and does nothing else. An interrupted command goes on where it stopped
when it is started again.""",
)
serve_app = typer.Typer(no_args_is_help=True, help="Serve a model or kernels over HTTP.", rich_markup_mode="markdown")
serve_app.command("sandbox")(serve_sandbox)
app.add_typer(serve_app, name="serve", rich_help_panel="Servers and kernels")
app.add_typer(sandbox_app, name="sandbox", rich_help_panel="Servers and kernels")
app.add_typer(prove_app, name="prove", rich_help_panel="Before a run")


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"codeact {__version__}")
        raise typer.Exit


@app.callback()
def codeact(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and stop.")
    ] = False,
) -> None:
    pass


ConfigFile = Annotated[Path, typer.Argument(help="YAML file of the run, for example configs/demo.yaml.")]
Overrides = Annotated[Optional[list[str]], typer.Argument(help="Values laid over the file: section.key=value.")]  # noqa: UP045
PrintConfig = Annotated[bool, typer.Option("--print-config", help="Show the resolved configuration and stop.")]
Parity = Annotated[
    Optional[Literal["off", "paper"]],  # noqa: UP045
    typer.Option(help="paper: lay out and weigh the data as the paper's code did, defects included (prepare.parity)."),
]


def _staged(stage: Callable[[configs.LoopConfig], str], config: configs.LoopConfig) -> None:
    from launch.run_dir import RunFolder

    started = time.monotonic()
    sentence = stage(config)
    RunFolder(config.run).write_inputs(configs.dump(config))  # last: a refused stage leaves nothing
    done(sentence, time.monotonic() - started)


def _loaded(file: Path, overrides: list[str] | None, print_config: bool) -> configs.LoopConfig:
    config = configs.load(file, overrides or [])
    if print_config:
        typer.echo(configs.dump(config), nl=False)
        raise typer.Exit
    return config


def _with_parity(overrides: list[str] | None, parity: str | None) -> list[str]:
    return [*(overrides or []), *([f"prepare.parity={parity}"] if parity else [])]


@serve_app.command("model")
def serve_model(file: ConfigFile, overrides: Overrides = None, print_config: PrintConfig = False) -> None:
    """Serve `model` over HTTP, OpenAI-compatible, as the section `serve` says; Ctrl-C ends it."""
    config = _loaded(file, overrides, print_config)
    from launch.inputs.resolve_model import resolve_model
    from launch.serve import serve

    folder = resolve_model(config.model)
    with serve(folder, config.serve, config.run / "logs" / "serve.log") as url:
        say(f"{folder.name} answers at {url}; Ctrl-C ends it")
        while True:
            time.sleep(3600)


@app.command(rich_help_panel="The loop")
def loop(
    file: ConfigFile, overrides: Overrides = None, print_config: PrintConfig = False, parity: Parity = None
) -> None:
    """Run everything: collect, select, prepare, train, evaluate, report."""
    config = _loaded(file, _with_parity(overrides, parity), print_config)
    from eval import terminal_report
    from launch.loop import run_loop

    run_loop(config)
    typer.echo(terminal_report(config.run))


@app.command(rich_help_panel="Stages of the loop")
def collect(file: ConfigFile, overrides: Overrides = None, print_config: PrintConfig = False) -> None:
    """Run episodes on Ray actors, each with its own kernel, into the trajectory bank."""
    config = _loaded(file, overrides, print_config)
    from launch import stages

    _staged(stages.collect, config)


@app.command(rich_help_panel="Stages of the loop")
def select(file: ConfigFile, overrides: Overrides = None, print_config: PrintConfig = False) -> None:
    """Choose which trajectories become training records, and count why the others do not."""
    config = _loaded(file, overrides, print_config)
    from launch import stages

    _staged(stages.select, config)


@app.command(rich_help_panel="Stages of the loop")
def prepare(
    file: ConfigFile, overrides: Overrides = None, print_config: PrintConfig = False, parity: Parity = None
) -> None:
    """Tokenise the records, mark what is trained, pack them; write the corpus and its ledger."""
    config = _loaded(file, _with_parity(overrides, parity), print_config)
    from launch import stages

    _staged(stages.prepare, config)


@app.command(rich_help_panel="Stages of the loop")
def train(
    file: Annotated[Optional[Path], typer.Argument(help="YAML file of the run.")] = None,  # noqa: UP045
    overrides: Overrides = None,
    print_config: PrintConfig = False,
    parity: Parity = None,
    plan: Annotated[bool, typer.Option("--plan", help="Train nothing: reckon for `launch.cluster`.")] = False,
    slurm: Annotated[bool, typer.Option("--slurm", help="Train nothing: write a SLURM script for it.")] = False,
    json: Annotated[bool, typer.Option("--json", help="With --plan: as JSON.")] = False,
    validate: Annotated[bool, typer.Option("--validate", help="With --plan: check its cost model.")] = False,
    packs: Annotated[Optional[int], typer.Option("--packs", min=1, help="With --plan: packs, before prepare.")] = None,  # noqa: UP045
    dry_run: Annotated[bool, typer.Option(help="With --plan: also train two tiny steps on CPU.")] = True,
) -> None:
    """Train on the corpus under torchrun; a checkpoint and a Hugging Face export at each epoch's end."""
    from launch.cli import plan as verb

    verb.check_options(plan=plan, slurm=slurm, of_plan={"--json": json, "--validate": validate, "--packs": bool(packs)})
    if plan and validate:
        raise typer.Exit(verb.check_cost_model(json))
    if file is None:
        raise ValueError("train: no configuration; give a YAML file, for example configs/demo.yaml")
    overrides = _with_parity(overrides, parity)
    config = _loaded(file, overrides, print_config)
    if plan:
        verb.plan(config, shlex.join([str(file), *overrides]), packs, as_json=json, with_dry_run=dry_run)
    elif slurm:
        done(verb.write_script(config))
    else:
        from launch import stages

        stages.check_before_start(config)
        _staged(stages.train, config)


@app.command(rich_help_panel="Stages of the loop")
def export(
    file: ConfigFile,
    out: Annotated[Path, typer.Option("--out", help="Hugging Face folder to write.")],
    overrides: Overrides = None,
    print_config: PrintConfig = False,
) -> None:
    """Write the newest checkpoint as a Hugging Face folder (train does it at each epoch's end)."""
    config = _loaded(file, overrides, print_config)
    from launch import stages

    done(stages.export(config, out))


@app.command(rich_help_panel="Stages of the loop")
def evaluate(file: ConfigFile, overrides: Overrides = None, print_config: PrintConfig = False) -> None:
    """Run the held-out tasks with the base model and every epoch's export."""
    config = _loaded(file, overrides, print_config)
    from launch import stages

    _staged(stages.evaluate, config)


@app.command(rich_help_panel="Stages of the loop")
def report(file: ConfigFile, overrides: Overrides = None, print_config: PrintConfig = False) -> None:
    """Write report.html and report.md of a run, and show the latter."""
    config = _loaded(file, overrides, print_config)
    from eval import terminal_report
    from launch import stages

    done(stages.report(config))
    typer.echo(terminal_report(config.run))


def main() -> None:
    """Entry point of the console command."""
    app()
