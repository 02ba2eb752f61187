"""HotpotQA and its function that searches: live Wikipedia behind a local server, and paragraphs on disk."""

import gzip
import http.server
import json
import os
import pickle
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from rollout.bank.trajectory import Outcome, Sampling
from rollout.episode.loop import run_episode
from rollout.families import TaskSet, load_tasks
from rollout.families.hotpotqa import generate
from rollout.families.search import Page, ParagraphSource, SearchToolset, WikipediaSource, wikipedia
from rollout.families.search.paragraphs import VERSION
from rollout.kernel_source import KernelSource
from rollout.protocol import EpisodeProtocol
from tests.helpers.episodes import Says

DATA = Path(os.environ.get("CODEACT_DATA", Path(__file__).parents[3] / "shared" / "data"))
Reply = tuple[int, dict[str, str], Any]


@contextmanager
def serving(*replies: Reply) -> Iterator[tuple[str, list[dict[str, list[str]]]]]:
    """The address of an API that gives these replies, the last one again and again; and the queries it got."""
    waiting, seen = list(replies), []

    class Api(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(parse_qs(urlsplit(self.path).query) | {"agent": [self.headers["User-Agent"]]})
            status, headers, body = waiting.pop(0) if len(waiting) > 1 else waiting[0]
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(content))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/w/api.php", seen
    finally:
        server.shutdown()
        server.server_close()


def page(title: str, index: int, extract: str = "A text.", **more: Any) -> dict[str, Any]:
    return {"title": title, "index": index, "extract": extract, **more}


def pages(*found: dict[str, Any]) -> Reply:
    return 200, {}, {"query": {"pages": list(found)}}


def toolset(address: str) -> SearchToolset:
    return SearchToolset(WikipediaSource(address, wait_s=0.001), "wikipedia_search")


def test_wikipedia_gives_two_pages_in_a_thousand_characters() -> None:
    meanings = page("Mercury", 1, pageprops={"disambiguation": ""})
    found = pages(page("Third", 4), page("Second", 3, "b" * 2000), meanings, page("First", 2, "\n a"))
    with serving(found, (200, {}, {"batchcomplete": True})) as (address, seen):
        tools = toolset(address)
        text = tools.functions()["wikipedia_search"]("  who   was \n" + "x" * 400)
        nothing = tools.search("unknown")
    assert text.startswith("Page: First\nSummary: a\n\nPage: Second\nSummary: bbb") and len(text) == 1000
    assert nothing == tools.search(" ") == "No page was found."
    (query,) = seen[0]["gsrsearch"]
    assert query.startswith("who was xxx") and len(query) == 300
    assert seen[0]["agent"][0].startswith("codeact/") and len(seen) == 2 and tools.outcome() is None


@pytest.mark.parametrize(
    "busy",
    [
        (503, {}, b"down"),
        (429, {"Retry-After": "0.001"}, {}),
        (200, {}, {"error": {"code": "maxlag"}}),
        (200, {}, b"<html>"),
        (200, {"Content-Length": "500"}, b"{"),
    ],
)
def test_a_busy_api_is_asked_again(busy: Reply) -> None:
    with serving(busy, busy, pages(page("First", 1))) as (address, seen):
        assert "First" in toolset(address).search("a")
    assert len(seen) == 3


@pytest.mark.parametrize(
    ("reply", "attempts"),
    [
        ((503, {}, b"down"), wikipedia.ATTEMPTS),
        ((404, {}, b""), 1),
        ((200, {}, {"error": {"code": "badvalue"}}), 1),
        ((200, {}, b" " * 2001), wikipedia.ATTEMPTS),
    ],
)
def test_a_search_without_an_answer_loses_the_episode_to_the_infrastructure(
    reply: Reply, attempts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wikipedia, "MAX_BYTES", 2000)
    with serving(reply) as (address, seen):
        tools = toolset(address)
        with pytest.raises(RuntimeError, match="does not answer"):
            tools.search("a")
    outcome = tools.outcome()
    assert outcome is not None and outcome.error is not None and outcome.error.kind == "infra"
    assert len(seen) == attempts and tools.fresh().outcome() is None


def test_a_search_that_is_not_over_when_its_cell_ends_loses_the_episode_too() -> None:
    class Slow:
        def __init__(self) -> None:
            self.during: list[Outcome | None] = []

        def find(self, query: str, count: int) -> list[Page]:
            self.during.append(tools.outcome())
            return [Page("A", "b")]

        def describe(self) -> str:
            return "slow"

    source = Slow()
    tools = SearchToolset(source)
    assert tools.search("a") == "Page: A\nSummary: b" and tools.outcome() is None
    (during,) = source.during
    assert during is not None and during.error is not None and during.error.kind == "infra"


def test_an_address_without_a_server_is_the_infrastructure_too() -> None:
    tools = toolset("http://127.0.0.1:9/w/api.php")
    with pytest.raises(RuntimeError, match="ConnectError"):
        tools.search("a")
    assert tools.outcome() is not None


def paragraphs(path: Path, count: int = 40) -> Path:
    rows = [{"title": f"Town {n}", "text": f"Town number{n} lies in the north."} for n in range(count)]
    rows.append({"title": "Mihăiță", "text": "A Romanian canoeist."})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_paragraphs_are_indexed_once_and_found_by_every_copy(tmp_path: Path) -> None:
    file = paragraphs(tmp_path / "p.jsonl")
    source = ParagraphSource.of(file, tmp_path / "cache")
    made = Path(source.folder).stat().st_mtime_ns
    again = ParagraphSource.of(file, tmp_path / "cache")
    assert again == source and Path(source.folder).stat().st_mtime_ns == made
    tools = pickle.loads(pickle.dumps(SearchToolset(source, pages=3))).fresh()
    assert len(pickle.dumps(tools)) < 1000
    assert tools.search("Where does number7 lie?").startswith("Page: Town 7\nSummary: Town number7")
    assert tools.search("MIHAITA, the canoeist").startswith("Page: Mihăiță")
    assert tools.search("zebra") == "No page was found."
    assert tools.search("town").count("Page: ") == 3
    assert ParagraphSource.of(paragraphs(tmp_path / "q.jsonl", 41), tmp_path / "cache").describe() != source.describe()
    left = {path.name.partition("-")[2] for path in (tmp_path / "cache" / "paragraphs").iterdir()}
    assert left == {str(VERSION)}, "an unfinished index is left"


def test_another_machine_builds_the_index_from_the_file(tmp_path: Path) -> None:
    source = ParagraphSource.of(paragraphs(tmp_path / "p.jsonl"), tmp_path / "cache")
    elsewhere = ParagraphSource(source.file, str(tmp_path / "other"), source.digest)
    assert elsewhere.find("number3", 1) == source.find("number3", 1)


def test_questions_of_hotpotqa_are_a_file_of_paragraphs(tmp_path: Path) -> None:
    context = {"title": ["A", "B"], "sentences": [["One. ", "Two."], ["Three."]]}
    (tmp_path / "one.json").write_text(json.dumps([{"context": [["A", ["One. ", "Two."]], ["B", ["Three."]]]}] * 2))
    with gzip.open(tmp_path / "other.jsonl.gz", "wt") as file:
        file.write(json.dumps({"context": context}))
    for name in ("one.json", "other.jsonl.gz"):
        found = ParagraphSource.of(tmp_path / name, tmp_path / "cache").find("two three", 5)
        assert {(found.title, found.text) for found in found} == {("A", "One. Two."), ("B", "Three.")}


@pytest.mark.parametrize(
    ("content", "message"), [("", "no paragraphs"), ('{"a": 1}', "item 1"), ("[1]", "JSON object")]
)
def test_a_file_without_paragraphs_is_refused(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text(content)
    with pytest.raises(ValueError, match=message):
        ParagraphSource.of(tmp_path / "p.jsonl", tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def questions(root: Path, count: int = 12) -> Path:
    folder = root / "hotpotqa"
    folder.mkdir()
    rows: list[dict[str, Any]] = [
        {"_id": f"x{n}", "question": f"Who is {n}?", "answer": f"{n}", "type": "bridge", "level": "easy"}
        for n in range(count)
    ]
    rows[3]["level"] = rows[7]["level"] = "hard"
    rows[5]["answer"] = ""
    (folder / "hotpot_train_v1.1.json").write_text(json.dumps(rows))
    return root


def test_tasks_of_the_training_file_have_their_position_as_id(tmp_path: Path) -> None:
    loaded = generate.load("train", questions(tmp_path))
    assert [task.id for task in loaded.tasks] == [str(n) for n in range(12) if n != 5]
    assert loaded.refused == {"no answer": 1}
    hard = generate("train", None, 0, data_root=tmp_path, preset="paper")
    assert [task.id for task in hard] == ["3", "7"] and hard[0].prompt == "Who is 3?"


def test_options_and_presets_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    questions(tmp_path)
    for options, message in (
        ({"options": {"engine": "x"}}, "tasks.options"),
        ({"options": {"search": "no/such/file"}}, "cannot be read"),
        ({"preset": "other"}, "choose from: paper"),
    ):
        chosen = TaskSet.model_validate({"family": "hotpotqa", "count": None, "data_root": tmp_path, **options})
        with pytest.raises(ValueError, match=message):
            load_tasks(chosen)
    with pytest.raises(ValueError, match="write split: train"):
        generate.load("dev", tmp_path, "paper")
    with pytest.raises(ValueError, match="no preset"):
        load_tasks(TaskSet(preset="paper"))


def test_the_real_files_are_read_and_their_paragraphs_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not (DATA / "hotpotqa").is_dir():
        pytest.skip(f"needs HotpotQA at {DATA / 'hotpotqa'} (CODEACT_DATA names another folder)")
    monkeypatch.setenv("CODEACT_CACHE", str(tmp_path))
    assert len(generate.load("dev", DATA).tasks) == 7405
    mint = generate.load("mint", DATA).tasks
    assert [task.id for task in mint] == [str(n) for n in range(43)]
    assert list(mint[0].toolset.functions() if mint[0].toolset else ()) == ["wikipedia_search"]
    tasks = {task.id: task for task in generate.load("distractor", DATA).tasks}
    found = 0
    lines = gzip.decompress((DATA / "hotpotqa" / "distractor_sample_100.jsonl.gz").read_bytes()).splitlines()
    for row in map(json.loads, lines):
        tools = tasks[row["id"]].toolset
        assert isinstance(tools, SearchToolset)
        titles = {page.title for page in tools.source.find(row["question"], 5)}
        found += bool(titles & set(row["supporting_facts"]["title"]))
    assert len(tasks) == 100 and found >= 95


@pytest.mark.asyncio(loop_scope="module")
async def test_cells_search_and_a_dead_source_loses_the_episode(tmp_path: Path, pool: KernelSource) -> None:
    (tmp_path / "hotpotqa").mkdir()
    row = {"id": "x", "question": "Where?", "answer": "the north", "context": [["Town 7", ["Town number7 is north."]]]}
    (tmp_path / "hotpotqa" / "distractor_sample_100.jsonl").write_text(json.dumps(row) + "\n")
    (task,) = (
        generate.with_options({"search": str(paragraphs(tmp_path / "p.jsonl"))}).load("distractor", tmp_path).tasks
    )
    turns = ("<execute>print(search('number7'))</execute>", "<solution>In the north.</solution>")
    episode = await run_episode(task, Says(*turns), pool, EpisodeProtocol(), Sampling())
    assert episode.outcome.success and "Town number7 lies in the north" in episode.messages[3].content
    assert "search(query: str) -> str: Returns" in episode.messages[0].content
    dead = replace(task, toolset=SearchToolset(WikipediaSource("http://127.0.0.1:9/", wait_s=0.001)))
    lost = await run_episode(dead, Says(*turns), pool, EpisodeProtocol(), Sampling())
    assert lost.lost and lost.outcome.error is not None and "127.0.0.1:9" in lost.outcome.error.message
