"""ALFWorld: games read from the archive, played in processes of their own, won by their demonstrations."""

import asyncio
import json
import os
import tarfile
import zlib
from collections import Counter
from pathlib import Path

import psutil
import pytest

from rollout import EnvironmentFault, EpisodeProtocol, KernelSource, Sampling, Task, run_episode
from rollout.engines import ExpertSpec
from rollout.families.alfworld import generate
from rollout.families.alfworld.game_file import GameFile, enumerate_names, read_demonstration, short_names
from rollout.families.data import MissingDataError
from tests.helpers.processes import running_child

DATA = Path(os.environ.get("CODEACT_DATA", Path(__file__).parents[3] / "shared" / "data"))
ARCHIVE = DATA / "alfworld" / "alfworld_valid_unseen.tar.xz"
pytest.importorskip("textworld", reason="textworld is not installed; pip install 'codeact[alfworld]'")
needs_games = pytest.mark.skipif(not ARCHIVE.exists(), reason=f"the games of ALFWorld are not at {ARCHIVE}")
ROOM = """
(:init (receptacleAtLocation Shelf_bar_1 loc_bar_1) (receptacleAtLocation Shelf_bar_2 loc_bar_2)
 (receptacleAtLocation Sink_bar_3_bar_SinkBasin loc_bar_3) (inReceptacle Mug_bar_9 Shelf_bar_1))
(:goal (exists (?r - receptacle) (receptacleAtLocation ?r loc_bar_1)))
"""


@pytest.fixture(scope="module")
def tasks() -> list[Task]:
    return generate("valid_unseen", None, 0, data_root=DATA)


def test_objects_of_a_kind_are_numbered_downwards_and_a_basin_is_a_kind() -> None:
    names = short_names(["shelf_bar_1", "shelf_bar_2", "sink_bar_3", "sink_bar_3_bar_sinkbasin", "agent1"])
    assert names == {
        "shelf_bar_1": "shelf 2",
        "shelf_bar_2": "shelf 1",
        "sink_bar_3": "sink 1",
        "sink_bar_3_bar_sinkbasin": "sinkbasin 1",
    }
    assert [enumerate_names(some) for some in ([], ["a"], ["a", "b"])] == ["nothing", "a a", "a a, and a b"]


def game(name: str, **changes: object) -> GameFile:
    content = {"pddl_problem": ROOM, "grammar": '"rhs": "Your task is to: put a mug in shelf."', **changes}
    return GameFile(name, zlib.compress(json.dumps(content).encode()))


def test_the_first_text_is_read_without_a_simulator() -> None:
    assert game("pick_and_place_simple-Mug/trial_1").first_text() == (
        "You are in the middle of a room. Looking quickly around you, you see a shelf 2, a shelf 1, and a "
        "sinkbasin 1.\nYour task is to: put a mug in shelf."
    )
    for name, changes, reason in (
        ("pick_and_place-MugSliced/t", {}, "no function has"),
        ("pick_and_place-Mug/t", {"solvable": False}, "no solution"),
        ("pick_and_place-Mug/t", {"grammar": ""}, "no goal"),
        ("pick_and_place-Mug/t", {"grammar": None}, "no game"),
    ):
        with pytest.raises(ValueError, match=reason):
            game(name, **changes).first_text()
    assert game("dance-with-Mug/t").kind is None


def test_a_demonstration_calls_the_functions_by_their_names() -> None:
    text = 'Assistant:\n<execute>\nopen("drawer 1")\ntake("mug 1", "drawer 1")\n</execute>\n\nObservation:\nx\n'
    assert read_demonstration(text) == ('open_receptacle("drawer 1")\ntake_from("mug 1", "drawer 1")',)


def test_games_that_are_not_there_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"there is no alfworld/alfworld_valid_unseen.tar.xz; get it from"):
        generate("valid_unseen", None, 0, data_root=tmp_path)


@needs_games
def test_the_official_games_are_read_and_the_others_counted(tasks: list[Task]) -> None:
    with tarfile.open(ARCHIVE) as archive:
        listed = archive.extractfile("gamefile_id.txt")
        assert listed is not None
        official = listed.read().decode().split()
    assert {task.id for task in tasks} == set(official) and len(tasks) == 134
    assert Counter(task.kind for task in tasks) == {
        "put": 24, "clean": 31, "heat": 23, "cool": 21, "examine": 18, "puttwo": 17,
    }  # fmt: skip
    loaded = generate.load("mint", DATA)
    assert loaded.refused == {"the game has no solution": 58, "the task needs an action that no function has": 3}
    assert [task.id for task in loaded.tasks] == [task.id for task in tasks]
    assert tasks[0].ref.digest == generate("valid_unseen", None, 0, data_root=DATA)[0].ref.digest


@needs_games
@pytest.mark.asyncio(loop_scope="module")
async def test_a_demonstration_wins_its_own_game_and_no_other(tasks: list[Task], pool: KernelSource) -> None:
    """Two episodes of one game at once: one is won, the other goes on as if it were alone."""
    (task,) = [task for task in tasks if task.id.endswith("trial_T20190908_222917_366542")]
    assert task.toolset
    other = task.toolset.fresh()
    await other.open()
    engine = ExpertSpec().build(task)
    done = await run_episode(task, engine, pool, EpisodeProtocol(max_steps=20), Sampling())
    assert (done.outcome.reason, done.outcome.reward) == ("solved", 1.0)
    (seen,) = [message.content for message in done.messages if message.kind == "observation"]
    assert seen.splitlines()[1:3] == [
        "On the shelf 1, you see a keychain 3, and a pen 3.",
        "On the shelf 2, you see nothing.",
    ]
    functions = other.functions()
    replies = await asyncio.to_thread(
        lambda: [functions["goto"]("desk 2"), functions["goto"]("moon"), functions["look"]()]
    )
    assert replies == [
        "On the desk 2, you see a alarmclock 1.",
        "Nothing happens.",
        "You are facing the desk 2. Next to it, you see nothing.",
    ]
    assert other.outcome() is None
    branch = other.fork()  # carries on where the other is, and leaves it alone
    moved = await asyncio.to_thread(lambda: [branch.functions()[name](to) for name, to in (("goto", "desk 1"),)])
    assert moved == ["On the desk 1, you see a bowl 1, a desklamp 1, a mug 1, and a pencil 1."]
    assert (await asyncio.to_thread(functions["look"])).startswith("You are facing the desk 2.")
    host = running_child("rollout.families.alfworld.host")
    games = host.children()
    episodes = [process for process in host.children(recursive=True) if process not in games]
    assert len(episodes) >= 2  # one for the episode, one for its branch
    branch.close()
    other.close()
    assert not psutil.wait_procs(episodes, timeout=10)[1]

    lost = task.toolset.fresh()
    await lost.open()
    killed = [host, *host.children(recursive=True)]
    for process in killed:
        process.kill()
    psutil.wait_procs(killed)
    with pytest.raises(EnvironmentFault, match=r"does not answer|has ended"):
        await asyncio.to_thread(lost.functions()["look"])
    with pytest.raises(EnvironmentFault, match=r"does not answer|has ended") as fault:
        lost.outcome()
    assert fault.value.kind == "infra"
    again = task.toolset.fresh()  # a new host
    await again.open()
    again.close()


@needs_games
@pytest.mark.slow
@pytest.mark.asyncio(loop_scope="module")
async def test_every_game_is_won_by_its_demonstration(tasks: list[Task], pool: KernelSource) -> None:
    """All 134 games, four at a time: three seconds of one core each."""
    places, protocol = asyncio.Semaphore(4), EpisodeProtocol(max_steps=50, cell_timeout_s=120, deadline_s=900)

    async def outcome(task: Task) -> tuple[str, str]:
        async with places:
            done = await run_episode(task, ExpertSpec().build(task), pool, protocol, Sampling())
        return task.id, done.outcome.reason

    outcomes = await asyncio.gather(*map(outcome, tasks))
    assert Counter(reason for _, reason in outcomes) == {"solved": 134}, outcomes
