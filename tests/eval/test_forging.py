"""No verdict can be forged: the cheating agents fail, the honest ones are solved, and a broken grader is found."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

import eval.forging.battery
from eval.forging import AGENTS, Attempt, published, run_battery, summary
from eval.forging.fixtures import Planted, planted
from eval.forging.tasks import Case, make_tasks
from launch.cli import app
from rollout import GRADERS
from sandbox import choose_tier

TIER = choose_tier(None, ())
pytestmark = pytest.mark.skipif(TIER == "T0", reason="nothing isolates kernels here; `codeact sandbox probe` says why")
QUICK = [agent for agent in AGENTS if not agent.slow]


def named(*names: str) -> list[eval.forging.Agent]:
    return [agent for agent in AGENTS if agent.name in names]


def believes_the_kernel(proposed: str, reference: str) -> bool:
    """A broken grader: it takes what looks like a verdict for one."""
    return "reward: 1" in proposed or proposed.strip() == reference


@pytest.fixture
def broken_grader(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(GRADERS, "_loaded", {})
    GRADERS.add("believes the kernel", believes_the_kernel)
    yield


def with_broken_grader(planted: Planted) -> dict[str, Case]:
    cases = make_tasks(planted)
    number = cases["number"]
    return cases | {"number": replace(number, task=replace(number.task, grader="believes the kernel"))}


def with_check_in_the_models_kernel(planted: Planted) -> dict[str, Case]:
    cases = make_tasks(planted)
    table = cases["table"]
    return cases | {"table": replace(table, task=replace(table.task, snapshot=None))}


def with_grader_that_refuses(planted: Planted) -> dict[str, Case]:
    cases = make_tasks(planted)
    number = cases["number"]
    return cases | {"number": replace(number, task=replace(number.task, grader="environment"))}


async def test_no_quick_agent_is_scored_and_every_honest_one_is() -> None:
    attempts = await run_battery(TIER, QUICK)
    assert len(attempts) == len(QUICK) + len({agent.task for agent in QUICK})
    assert not [attempt for attempt in attempts if attempt.fault], summary(attempts)


@pytest.mark.slow
@pytest.mark.parametrize("tier", ["T3", "T1"])
async def test_no_agent_is_scored_in_any_tier(tier: str) -> None:
    try:
        chosen = choose_tier(tier, ())  # type: ignore[arg-type]
    except Exception as missing:
        pytest.skip(f"{tier} is not available here: {missing}")
    attempts = await run_battery(chosen)
    assert not [attempt for attempt in attempts if attempt.fault], summary(attempts)


@pytest.mark.usefixtures("broken_grader")
async def test_a_grader_that_believes_the_kernel_fails_the_battery() -> None:
    attempts = await run_battery(TIER, named("the format of a verdict", "writes a reward"), tasks=with_broken_grader)
    assert [attempt.ending for attempt in attempts] == ["solved", "scored", "held"]


async def test_a_check_in_the_models_kernel_fails_the_battery() -> None:
    agents = named("prints the digest of a copy", "replaces the connection", "hooks of the connection")
    attempts = await run_battery(TIER, agents, tasks=with_check_in_the_models_kernel)
    assert [attempt.ending for attempt in attempts] == ["solved", "scored", "scored", "scored"]


async def test_a_grader_that_refuses_everything_fails_the_battery() -> None:
    (honest, cheat) = await run_battery(TIER, named("writes a reward"), tasks=with_grader_that_refuses)
    assert (honest.ending, honest.fault, cheat.ending) == ("refused", True, "held")


async def test_without_isolation_there_is_no_battery() -> None:
    with pytest.raises(ValueError, match=r"--tier=T0: .*choose T3, T2 or T1"):
        await run_battery("T0")


def test_the_command_prints_a_table_or_json_and_ends_with_1_at_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    done = Attempt(agent="a", group="kernel", task="t", grader="g", ending="held", seen="wrong", seconds=0.1)

    async def run(tier: str, **more: object) -> list[Attempt]:
        return [done]

    monkeypatch.setattr("eval.forging.run_battery", run)
    held = CliRunner().invoke(app, ["benchmarks", "forge", "--json"])
    assert held.exit_code == 0
    assert json.loads(held.stdout)["attempts"][0]["ending"] == "held"
    done = done.model_copy(update={"ending": "escaped"})
    assert CliRunner().invoke(app, ["benchmarks", "forge"]).exit_code == 1


def test_the_published_list_is_that_of_the_code() -> None:
    assert len(AGENTS) >= 25 and len({agent.name for agent in AGENTS}) == len(AGENTS)
    page = Path(__file__).parents[2] / "docs" / "eval.md"
    assert published() in page.read_text(encoding="utf-8"), "run `python -m eval.forging` and paste its table"


def test_agents_that_look_for_the_key_find_it_where_nothing_isolates_them() -> None:
    for agent in named("reads the host's files", "reads environment variables", "asks the network"):
        with planted() as secrets:
            looking = next(agent.play(secrets.places)).removeprefix("<execute>\n").removesuffix("\n</execute>")
            run = subprocess.run([sys.executable, "-c", looking], capture_output=True, text=True, timeout=60)
        assert secrets.key in run.stdout, (agent.name, run)
