"""``codeact sandbox …`` and ``codeact serve sandbox``: commands about the kernels themselves.

Contract: results go to standard output, as a table or with ``--json`` as one JSON document; progress goes to standard
error. Exit codes: 0; 1 when a claim of the probe or a target is missed; 2 for errors the user can fix, including a tier
this machine does not support.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from launch.console import say

if TYPE_CHECKING:
    from sandbox.service import Tenant, Tenants

MISSED = 1
TierName = Literal["T3", "T2", "T1", "T0"]
KernelName = Literal["light", "ipykernel", "stock"]
Tier = Annotated[
    TierName | None,
    typer.Option("--tier", help="Isolation from T3, everything, to T0, none; by default the best of this machine."),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document instead of tables.")]

sandbox_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="""Python kernels for untrusted code: what this machine enforces, whether it holds, what it costs.

**Start with** `codeact sandbox probe`. docs/sandbox.md explains the tiers T3 to T0 and the use of kernels from Python;
`codeact serve sandbox` offers them over HTTP. Exit code 1 means that a claim or a target was missed.""",
)


@sandbox_app.command()
def probe(tier: Tier = None, as_json: Json = False) -> None:
    """Test every isolation mechanism and report what holds in each tier; exit code 1 when `--tier` is not available.

    Takes a second and leaves nothing behind. `enforced` always holds; a violation of `partial` is noticed within about
    a second.
    """
    from sandbox import probe as try_all

    report = try_all()
    if as_json:
        typer.echo(report.model_dump_json(indent=1))
    else:
        for each, properties in report.properties.items():
            if tier in (None, each):
                typer.echo(f"{each}{' (best here)' if each == report.tier else ''}")
                for what, found in properties.items():
                    typer.echo(f"  {what:10} {found.level:9} {found.mechanism}")
        for mechanism, reason in report.missing.items():
            typer.echo(f"missing: {mechanism}: {reason}")
    if tier is not None and tier not in report.properties:
        raise typer.Exit(MISSED)


@sandbox_app.command("battery", hidden=True)
@sandbox_app.command("security-suite")
def security_suite(
    tier: Tier = None,
    kernel: Annotated[
        KernelName,
        typer.Option(help="`ipykernel`: in the same isolation; `stock`: without isolation, harmless cases only."),
    ] = "light",
    group: Annotated[
        list[str] | None, typer.Option(help="Only the cases of this group; may be given several times.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run hostile cells, each in a new kernel, and judge by what the host observes; exit code 1 at a breach.

    A breach is a case that gets through although `probe`, or the kernel, promises that it is stopped.
    """
    from sandbox.security_suite.run import cases_of, run_suite
    from sandbox.security_suite.scorecard import HEAD, breaches, row, summary

    with _as_value_error():
        chosen, cases = _chosen(tier), cases_of(group)
        say(f"kernel {kernel}, {'no isolation' if kernel == 'stock' else f'tier {chosen}'}")
        if not as_json:
            typer.echo(HEAD)
        scores = asyncio.run(
            run_suite(chosen, kernel, cases, on_score=lambda score: None if as_json else typer.echo(row(score)))
        )
    if as_json:
        _echo_json({"tier": chosen, "kernel": kernel, "scores": [score.model_dump() for score in scores]})
    else:
        typer.echo("\n" + summary(scores))
    if breaches(scores):
        raise typer.Exit(MISSED)


@sandbox_app.command()
def bench(
    tier: Tier = None,
    starts: Annotated[int, typer.Option(min=3, help="Starts of each kind; a ninth as many of the baseline.")] = 15,
    cells: Annotated[int, typer.Option(min=10, help="Cells sent and answered, one after another.")] = 300,
    kernels: Annotated[int, typer.Option(min=1, help="Kernels at once, ours and the baseline's.")] = 64,
    as_json: Json = False,
) -> None:
    """Measure against stock jupyter_client and ipykernel in the same run; exit code 1 when a target is missed.

    Without `--tier` the start is measured in every tier of this machine, the rest in the best one. Run nothing else at
    the same time, because the targets are times.
    """
    from sandbox.bench.figures import HEAD, row
    from sandbox.bench.measure import Effort, measure

    with _as_value_error():
        tiers = [tier] if tier is not None else _isolating()
        _chosen(tier)
        say(f"tier {', '.join(tiers)}; ours and stock in turns")
        if not as_json:
            typer.echo(HEAD)
        effort = Effort(starts=starts, cells=cells, kernels=kernels)
        figures = asyncio.run(measure(tiers, effort, lambda figure: None if as_json else typer.echo(row(figure))))
    _end(figures, as_json, {"tiers": tiers, "effort": effort.model_dump()})


@sandbox_app.command()
def soak(
    tier: Tier = None,
    kernels: Annotated[int, typer.Option(min=1, help="Kernels alive at once; about 8.5 MB each.")] = 2000,
    cycles: Annotated[int, typer.Option(min=20, help="Kernels started, used and ended one after another.")] = 10_000,
    as_json: Json = False,
) -> None:
    """Run thousands of kernels, thousands of starts and stops, then kill -9; exit code 1 when anything is left.

    Killed in turn: the process that owns the kernels, their supervisor, their fork server.
    """
    from sandbox.bench.figures import HEAD, Figure, row
    from sandbox.bench.kills import kills
    from sandbox.bench.soak import Growth, at_once
    from sandbox.bench.soak import cycles as run_cycles

    def show(figure: Figure) -> None:
        if not as_json:
            typer.echo(row(figure))

    def grew(growth: Growth) -> None:
        say(f"{growth.cycles:,} cycles: {growth.footprint}")

    with _as_value_error():
        chosen = _chosen(tier)
        if not as_json:
            typer.echo(HEAD)
        say(f"{kernels:,} kernels at once, tier {chosen}")
        figures = asyncio.run(at_once(chosen, kernels, show))
        more, table = asyncio.run(run_cycles(chosen, cycles, show, grew))
        figures += more + kills(chosen, show)
    _end(figures, as_json, {"tier": chosen, "growth": [growth.model_dump() for growth in table]})


def serve_sandbox(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8765,
    tenants: Annotated[
        Path | None,
        typer.Option(help="YAML file of tenants with tokens and limits, see docs/reference/service.md."),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(envvar="CODEACT_SANDBOX_TOKEN", help="Token of a single user; by default a random one, printed."),
    ] = None,
    open_execute: Annotated[
        bool, typer.Option("--open-execute", help="Accept old clients, which call `POST /execute`, without a token.")
    ] = False,
    checkpoint: Annotated[
        bool, typer.Option("--checkpoint", help="Save state and files before each cell; rollouts expect it.")
    ] = False,
    tier: Tier = None,
    require: Annotated[
        str, typer.Option(help="Properties that must be enforced, such as `files,network`; otherwise it fails.")
    ] = "",
    warm: Annotated[int, typer.Option(min=0, help="Kernels kept ready for each kind of tenant.")] = 4,
    preload: Annotated[str, typer.Option(help="Modules that are imported in every kernel.")] = "numpy,pandas",
) -> None:
    """Serve kernels over HTTP until Ctrl-C or SIGTERM; every kernel ends with the server.

    Use them with `sandbox.RemotePool(URL, TOKEN)`, with the setting `workers.service` of a collection or evaluation, or
    with any HTTP client: docs/reference/service.md lists the routes. An address other machines can reach needs
    `--tenants` or `--token`. The traffic is plain HTTP: put a TLS proxy in front of it.
    """
    from sandbox import KernelPool
    from sandbox.service import check_address, serve

    check_address(host, chosen=tenants is not None or token is not None)
    allowed = _tenants(tenants, token, open_execute, checkpoint)

    def open_pool(tenant: Tenant) -> KernelPool:
        return KernelPool(
            warm, tenant.limits, _words(preload), tier, _words(require),
            checkpoint=tenant.checkpoint, policy=tenant.policy,
        )  # fmt: skip

    def on_ready(url: str) -> None:
        if tenants is None and token is None:
            say(f"token: {allowed.all[0].token}")
        say(f"kernels at {url}; Ctrl-C ends it")

    with _as_value_error():
        serve(allowed, open_pool, host, port, on_ready)


def _tenants(file: Path | None, token: str | None, open_execute: bool, checkpoint: bool) -> Tenants:
    from sandbox.service import load_tenants, single_tenant

    if file is not None:
        if token is not None or open_execute or checkpoint:
            raise ValueError("--tenants: the file sets this; remove --token, --open-execute and --checkpoint")
        return load_tenants(file.expanduser())
    return single_tenant(token, open_execute, checkpoint)


@contextmanager
def _as_value_error() -> Iterator[None]:
    """Turns a :class:`sandbox.SandboxError` into a ValueError, which the command prints as one sentence."""
    from sandbox import SandboxError

    try:
        yield
    except SandboxError as error:
        raise ValueError(str(error)) from None


def _chosen(tier: TierName | None) -> TierName:
    from sandbox import choose_tier

    return choose_tier(tier, ())


def _isolating() -> list[TierName]:
    from sandbox import probe as try_all

    return [tier for tier in try_all().properties if tier != "T0"]


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _end(figures: list[Any], as_json: bool, more: dict[str, Any]) -> None:
    from sandbox.bench.figures import missed

    late = missed(figures)
    if as_json:
        _echo_json({**more, "figures": [figure.model_dump(by_alias=True) for figure in figures]})
    say("every target is met" if not late else f"missed: {', '.join(figure.name for figure in late)}")
    if late:
        raise typer.Exit(MISSED)


def _echo_json(document: dict[str, Any]) -> None:
    typer.echo(json.dumps(document, indent=1))
