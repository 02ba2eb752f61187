"""MiniWoB++: pages in a real browser, which alone decide; a browser that fails is no failure of the agent."""

import asyncio
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner

from launch.cli import app
from rollout import EnvironmentFault
from rollout.families.data import MissingDataError
from rollout.families.miniwob import client, generate, installed
from rollout.families.miniwob.family import PAGES
from rollout.families.miniwob.players import PLAYERS, expert_for
from rollout.families.miniwob.players.page import Page
from rollout.families.miniwob.tools import WebPage
from tests.helpers.opened import Opened
from tests.helpers.processes import running_child

HOST = str(Path(client.__file__).with_name("host.py"))
REASON = ""
try:
    installed.installed()
except MissingDataError as missing:
    REASON = str(missing)
needs_browser = pytest.mark.skipif(bool(REASON), reason=REASON)


@pytest.fixture(scope="module", autouse=True)
def browsers() -> Iterator[None]:
    """The episodes of this module share one browser."""
    yield
    client.close_idle_browsers()


def opened(page: str, seed: int = 0) -> Opened:
    return Opened(WebPage(page, seed))


def test_tasks_are_pages_and_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rollout.families.miniwob.family.installed", lambda: None)
    tasks, reference = generate("test", None, 0), generate("test-reference", None, 0)
    assert len(PAGES) == 46 and len(tasks) == len({task.ref.digest for task in tasks}) == 184
    assert (tasks[0].id, tasks[0].ref.digest) == ("choose-list/0", "d28bebe21119b4b6")
    assert [task.id for task in reference] == [task.id for task in tasks]
    assert not {task.ref.digest for task in reference} & {task.ref.digest for task in tasks}
    assert not {task.ref.digest for task in generate("train", None, 0)} & {task.ref.digest for task in tasks}
    assert {task.kind for task in tasks if task.expert is None} == set(PAGES) - set(PLAYERS)
    assert len(PLAYERS) == 44


def test_what_is_not_installed_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv(installed.CHROMIUM, raising=False)
    with pytest.raises(
        MissingDataError, match=r"pip install 'codeact\[miniwob\]' and, on Debian, apt-get install chrom"
    ):
        generate("test", None, 0)
    assert not generate.is_here("test")
    if not REASON:
        monkeypatch.setenv(installed.CHROMIUM, "/no/browser")
        with pytest.raises(MissingDataError, match=r"MINIWOB_CHROME_BINARY=/no/browser: there is no such program"):
            generate("test", None, 0)
    other_machine = WebPage("click-test", 0)
    with pytest.raises(EnvironmentFault, match=r"codeact\[miniwob\]|no such program") as fault:
        asyncio.run(other_machine.open())
    assert fault.value.kind == "infra"


def test_players_read_the_page_as_it_is_shown() -> None:
    page = Page(
        'Do "a".\n<div ref=1 id="x"><ul ref=2 class="hide me" hidden><li ref=3>a &lt; b</li></ul>\n<input ref=5></div>'
    )
    (item,) = page.root.find("li")
    assert (page.asks, item.text, item.ref, item.shown) == ('Do "a".', "a < b", 3, False)
    assert page.root.one("input").shown and page.root.one(css="me") is item.parent
    with pytest.raises(LookupError, match="the page has no element button"):
        page.root.one("button")
    assert expert_for("click-checkboxes-soft") is None


@needs_browser
def test_a_seed_makes_the_same_page_and_the_page_decides() -> None:
    with opened("click-test-2") as page:
        shown = page.look()
        assert shown.startswith('Click button ONE.\n<div ref=1 id="area"><button ref=2 id="subbtn"')
        for wrong, message in (
            (99, "no element has the ref 99"),
            ("//p", "no such element"),
            ("][", "invalid selector"),
        ):
            with pytest.raises(ValueError, match=message):
                page.click(wrong)
        with pytest.raises(ValueError, match="there is no key 'F12'"):
            page.press("F12")
        with pytest.raises(ValueError, match="no key has"):
            page.type_text("\ue009a")
        assert page.look() == shown and page.outcome is None
        assert page.click("//button[text()='ONE']") == "The page has ended the task."
        assert page.click(3) == "The page has ended the task." and page.outcome == ("solved", 1.0)
    with opened("click-test-2") as page:
        assert page.look() == shown
        page.click(3)
        assert page.outcome == ("failed", 0.0)
    with opened("click-test-2", seed=1) as page:
        assert page.look() != shown


@needs_browser
@pytest.mark.parametrize("way", ["code", "text"])
def test_a_player_solves_a_task_in_whole_episodes_and_wrong_players_do_not(way: str) -> None:
    (check,) = validated("--by", way, "--limit", "1")
    assert (check["accepted"], check["right"]) == (1, 1) and check["rejected"] == check["wrong"] >= 5


@needs_browser
@pytest.mark.slow
def test_every_page_but_two_is_solved_with_each_seed() -> None:
    for check in validated():
        assert check["tasks"] == 184 and check["rejected"] == check["wrong"]
        if check["way"] != "grader":
            assert check["accepted"] == check["right"] == 4 * len(PLAYERS)


def validated(*arguments: str) -> list[dict[str, Any]]:
    result = CliRunner().invoke(app, ["benchmarks", "validate", "miniwob", "--json", *arguments])
    assert result.exit_code == 0, result.output
    checks: list[dict[str, Any]] = json.loads(result.stdout)
    return checks


@needs_browser
def test_what_an_agent_types_is_no_script_and_leaving_the_page_ends_the_task() -> None:
    with opened("terminal") as page:
        page.click("//*[@id='terminal']")
        shown = page.type_text("<img src=x onerror='core.endEpisode(1)'>\n")
        assert 'onerror="core.endEpisode(1)"' in shown and page.outcome is None
        page.type_text("<a href='file:///etc/passwd'>leave</a>\n")
        assert page.click("//a[text()='leave']") == "The page has ended the task." and page.outcome == ("failed", 0.0)


@needs_browser
def test_a_browser_that_is_killed_is_a_fault_and_nothing_of_it_is_left() -> None:
    with opened("click-test") as page:
        host = running_child(HOST)
        below = host.children(recursive=True)
        profile = next(word for one in below for word in one.cmdline() if word.startswith("--user-data-dir="))
        folder = Path(profile.partition("=")[2]).parent
        assert folder.is_dir()
        host.send_signal(signal.SIGKILL)
        with pytest.raises(EnvironmentFault) as fault:
            page.click("//button")
        assert fault.value.kind == "infra"
        with pytest.raises(EnvironmentFault):
            page.toolset.outcome()
    assert not psutil.wait_procs(below, timeout=30)[1]
    with opened("click-test") as page:  # another browser; its start removes the folder of the killed one
        page.click("//button")
        assert page.outcome == ("solved", 1.0)
        host = running_child(HOST)
        assert not folder.exists()
    below = [host, *host.children(recursive=True)]
    client.close_idle_browsers()
    assert not psutil.wait_procs(below, timeout=30)[1]
