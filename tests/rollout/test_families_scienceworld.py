"""ScienceWorld: tasks read without Java, worlds played by their gold paths, scores that only the simulator gives."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from eval.benchmarks.validation import Check
from eval.benchmarks.validation.episodes import play as play_check
from launch.cli import app
from rollout import EnvironmentFault, EpisodeProtocol, Message, Sampling, Task, Trajectory, run_episode
from rollout.engines import Completion
from rollout.families.data import MissingDataError
from rollout.families.scienceworld import GoldPath, generate
from rollout.families.scienceworld.client import end_java
from rollout.families.scienceworld.installed import installed
from rollout.families.scienceworld.tools import House
from rollout.protocol.turns import parse_turn
from tests.helpers.episodes import Says
from tests.helpers.fake_server import NoKernels
from tests.helpers.opened import Opened
from tests.helpers.processes import running_child

TEXT = EpisodeProtocol.model_validate("scienceworld-text")
OLDEST, WIRES = "lifespan-longest-lived/119", "power-component/17"
SERVER = "py4j.GatewayServer"
REASON = ""
try:
    installed()
except MissingDataError as missing:
    REASON = str(missing)
needs_java = pytest.mark.skipif(bool(REASON), reason=REASON)


@pytest.fixture(scope="module", autouse=True)
def java() -> Iterator[None]:
    """The worlds of this module share one Java process."""
    yield
    end_java()


def task(name: str, **limits: int) -> Task:
    (found,) = [one for one in generate.tasks("test") if one.id == name]
    kind, variation = name.split("/")
    return replace(found, toolset=House(kind, int(variation), **limits)) if limits else found


def gold_path(name: str) -> list[str]:
    expert = task(name).expert
    assert isinstance(expert, GoldPath)
    return expert.commands()


def opened(name: str) -> Opened:
    toolset = task(name).toolset
    assert toolset is not None
    return Opened(toolset)


async def play(chosen: Task, *turns: str, protocol: EpisodeProtocol = TEXT) -> Trajectory:
    return await run_episode(chosen, Says(*turns), NoKernels(), protocol, Sampling())


def commands(given: Sequence[str]) -> list[str]:
    return [f"Action: {one}" for one in given]


def test_the_tasks_are_those_of_the_reference() -> None:
    tasks = list(generate.tasks("test"))
    per_kind = Counter(one.kind for one in tasks)
    assert len(tasks) == len({one.id for one in tasks}) == 270 and len(per_kind) == 30
    few = {kind: count for kind, count in per_kind.items() if count < 9}
    assert few == {
        "chemistry-mix": 8, "identify-life-stages-1": 5, "identify-life-stages-2": 4, "power-component": 5,
        "power-component-renewable-vs-nonrenewable-energy": 5,
    }  # fmt: skip
    assert per_kind["inclined-plane-friction-named-surfaces"] == 9 and max(per_kind.values()) == 10
    trained = list(generate.tasks("train"))
    assert len(trained) == 290 and not {one.id for one in tasks} & {one.id for one in trained}
    assert task("boil/26").ref.digest == "b1f5a695c3000f1b"
    assert "Your task is to boil gallium." in task("boil/26").prompt


def test_what_is_not_installed_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    end_java()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    how = r"pip install 'codeact\[scienceworld\]' and, on Debian, apt-get install default-jre-headless"
    with pytest.raises(MissingDataError, match=how):
        generate("test", None, 0)
    assert not generate.is_here("test")
    refused = CliRunner().invoke(app, ["benchmarks", "validate", "scienceworld"])
    assert refused.exit_code == 2 and "tasks.family: scienceworld needs" in refused.output
    other_machine = House("boil", 26)
    with pytest.raises(EnvironmentFault, match=how) as fault:
        asyncio.run(other_machine.open())
    assert fault.value.kind == "infra"


def test_a_command_in_words_is_an_action() -> None:
    action = parse_turn("Thought: I look.\nAction: look around\nAnd more.", "action_command")
    assert action.kind == "action" and action.body == "look around"
    assert [(call.name, call.arguments) for call in action.calls] == [("act", '["look around"]')]
    assert parse_turn("Action: \n", "action_command").kind == "invalid"
    assert parse_turn("Answer: done", "action_command").kind == "proposal"
    prompt = TEXT.prompt("x", House("boil", 26).functions(), "scienceworld", "boil")[0].content
    assert "focus on X" in prompt and "look_around" not in prompt


@needs_java
@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        ("print('Error: could not reserve memory'); sys.exit(1)", "Java does not start: it has ended, and said: Error"),
        (
            "import socket; s = socket.create_server(('127.0.0.1', 0)); "
            "print('A note.', s.getsockname()[1], 'secret', sep='\\n', flush=True); sys.stdin.read()",
            "did not answer for 0.2 s",
        ),
    ],
)
def test_java_that_does_not_start_or_hangs_is_one_sentence(
    program: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    end_java()
    fake = tmp_path / "java"
    fake.write_text(
        f"#!{sys.executable}\nimport os, sys\nprint(os.getpid(), file=open({str(fake)!r} + '.pid', 'w'))\n{program}\n"
    )
    fake.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr("rollout.families.scienceworld.machine.REPLY_S", 0.2)
    with pytest.raises(EnvironmentFault, match=sentence) as fault:
        opened(OLDEST)
    assert fault.value.kind == "infra"
    assert not psutil.pid_exists(int(Path(f"{fake}.pid").read_text()))


@needs_java
@pytest.mark.parametrize(("way", "protocol"), [("code", "scienceworld"), ("text", "scienceworld-text")])
def test_gold_paths_solve_tasks_in_whole_episodes_and_wrong_paths_do_not(way: str, protocol: str) -> None:
    check = Check("scienceworld", way, protocol)
    asyncio.run(play_check(check, [task(OLDEST), task(WIRES)], EpisodeProtocol.model_validate(protocol)))
    assert (check.accepted, check.right) == (2, 2) and check.rejected == check.wrong >= 10


@needs_java
@pytest.mark.slow
def test_a_gold_path_of_each_kind_solves_its_task() -> None:
    result = CliRunner().invoke(app, ["benchmarks", "validate", "scienceworld", "--json", "--limit", "43"])
    assert result.exit_code == 0, result.output
    for check in json.loads(result.stdout):
        assert check["tasks"] == 43 and check["rejected"] == check["wrong"]
        if check["way"] != "grader":
            assert check["accepted"] == check["right"] == 43


@needs_java
async def test_a_path_scores_in_part_wherever_it_ends() -> None:
    path = await asyncio.to_thread(gold_path, WIRES)
    said = await play(task(WIRES), *commands(path[:6]), *["Answer: done"] * 3)
    assert (said.outcome.reason, said.outcome.success) == ("wrong_answer", False) and 0 < said.outcome.reward < 1
    turns = TEXT.model_copy(update={"max_steps": 6})
    late = await play(task(WIRES), *commands(path[:6]), protocol=turns)
    assert (late.outcome.reason, late.outcome.reward) == ("max_steps", said.outcome.reward)
    moves = await play(task(WIRES, moves=5), *commands(path))
    assert moves.outcome.reason == "max_steps" and 0 < moves.outcome.reward < 1
    looks = await play(task(WIRES, commands=3), *commands(["look around"] * 9))
    assert (looks.outcome.reason, looks.outcome.reward, looks.usage.steps) == ("max_steps", 0.0, 3)
    whole = await play(task(WIRES), *commands(path))
    assert whole.outcome.success and whole.outcome.reward == 1.0
    wrong = await play(task(WIRES), *commands([*path[:6], "focus on agent", *path[6:]]))
    assert (wrong.outcome.reason, wrong.outcome.reward) == ("failed", said.outcome.reward)


@needs_java
def test_a_world_starts_alike_and_is_not_started_again() -> None:
    with opened("find-animal/261") as world, opened("find-animal/261") as other:
        assert world.look_around() == other.look_around()
        assert world.teleport("kitchen") == "You teleport to the kitchen."
        for command in ("reset task", " RESET  task", "reset\ttask"):
            assert world.act(command) == "No known action matches that input."
        assert "kitchen" in world.look_around() and "kitchen" not in other.look_around().splitlines()[0]
        with pytest.raises(ValueError, match="at most 200 characters"):
            world.go_to("x" * 300)
        with pytest.raises(NotImplementedError, match="cannot be copied"):
            world.toolset.fork()


@needs_java
def test_another_process_without_the_secret_cannot_call_java() -> None:
    from py4j.java_gateway import GatewayParameters, JavaGateway
    from py4j.protocol import Py4JError

    with opened(OLDEST):
        server = running_child(SERVER)
        (port,) = {one.laddr.port for one in server.net_connections("tcp") if one.status == psutil.CONN_LISTEN}
        stranger = JavaGateway(gateway_parameters=GatewayParameters(port=port))
        with pytest.raises(Py4JError):
            stranger.jvm.System.currentTimeMillis()


class EndsJava(Says):
    """An engine during whose second turn Java is killed."""

    async def complete(self, messages: Sequence[Message], sampling: Sampling, *, session: str) -> Completion:
        if self.seen:
            running_child(SERVER).kill()
        return await super().complete(messages, sampling, session=session)


@needs_java
async def test_java_that_dies_is_no_score_and_the_next_episode_has_another() -> None:
    lost = await run_episode(task(OLDEST), EndsJava(*commands(["inventory"] * 3)), NoKernels(), TEXT, Sampling())
    assert lost.outcome.error is not None and lost.outcome.error.kind == "infra" and lost.outcome.reward == 0.0
    assert lost.outcome.error.message.startswith(f"{OLDEST}: the Java process of the simulator failed")
    again = await play(task(OLDEST), *commands(["look around"]), *["Answer: done"] * 3)
    assert again.outcome.error is None and again.outcome.reason == "wrong_answer"


@needs_java
def test_java_ends_with_its_worker() -> None:
    code = (
        "from rollout.families.scienceworld.client import start_world\n"
        "print(start_world('boil', 26).java.pid, flush=True)\n"
        "input()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        server = psutil.Process(int(worker.stdout.readline()))
        os.kill(worker.pid, signal.SIGKILL)
        assert not psutil.wait_procs([server], timeout=20)[1]
