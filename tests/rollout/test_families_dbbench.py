"""DBBench: questions are graded by their labels, changes by the table that the kernel holds."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from rollout.bank.trajectory import Sampling
from rollout.engines.spec import ExpertSpec
from rollout.episode.loop import run_episode
from rollout.families.dbbench import InlineTable, generate, to_sqlite
from rollout.graders import judge
from rollout.kernel_source import KernelSource
from rollout.protocol import EpisodeProtocol
from tests.helpers.episodes import Says

DATA = Path(os.environ.get("CODEACT_DATA", Path(__file__).parents[3] / "shared" / "data"))
pytestmark = pytest.mark.asyncio(loop_scope="module")
ROWS = [["1", "Zoé"], ["2", "Bo"], [], ["3"]]


def row(kind: str, label: str, name: str = "2 teams", rows: list[list[str]] = ROWS) -> dict[str, Any]:
    columns = [{"name": "No", "type": "INT"}, {"name": "Name", "type": "TEXT"}]
    table = {"table_name": name, "table_info": {"columns": columns, "rows": rows}}
    return {"description": "Do it.", "label": [label] if label else [], "type": [kind], "table": table}


def data_root(root: Path, *rows: dict[str, Any]) -> Path:
    (root / "agentbench_db").mkdir()
    (root / "agentbench_db" / "dev.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


UPDATE = row("UPDATE", "UPDATE `2 teams` SET Name = 'It\\'s\\nX' WHERE Name = 'zoe'")


async def test_rows_are_made_rectangular_and_broken_ones_counted(tmp_path: Path) -> None:
    root = data_root(tmp_path, row("counting", "2.0"), row("other", ""), row("INSERT", "INSERT INTO nothing"), UPDATE)
    loaded = generate.load("dev", root)
    assert [task.id for task in loaded.tasks] == ["dev-0", "dev-3"]
    assert loaded.refused == {"no answer": 1, "its statement does not run": 1}
    made: dict[str, Any] = {}
    exec(loaded.tasks[0].setup, made)
    assert made["conn"].execute('SELECT * FROM "2 teams"').fetchall() == [("1", "Zoé"), ("2", "Bo"), ("3", None)]
    assert judge("sql_result", "2", loaded.tasks[0].answer).kind == "right"


async def test_statements_are_translated_and_compare_as_mysql_does() -> None:
    assert to_sqlite("INSERT INTO 1952_cup VALUES ('a\\'b\\n')") == "INSERT INTO \"1952_cup\" VALUES ('a''b\n')"
    table = InlineTable(UPDATE["table"])
    statement, digest = table.change(UPDATE["label"][0])
    exact = table.change("UPDATE `2 teams` SET Name = 'It''s\nX' WHERE Name = 'Zoé'")
    assert statement == "" and exact[0] and exact[1] == digest  # sqlite finds no 'zoe'


@pytest.mark.parametrize(
    ("cell", "solved"),
    [
        ("conn.execute(\"UPDATE '2 teams' SET Name = 'It''s\\nX' WHERE No = 1\")", True),
        ("conn.execute(\"UPDATE '2 teams' SET Name = 'It''s\\nX'\")", False),
        (
            "conn.execute(\"UPDATE '2 teams' SET Name = 'It''s\\nX' WHERE No = 1\")\nprint = conn.row_factory = None",
            True,
        ),
        ("conn.close()", False),
        ("del conn", False),
        ("pass", False),
    ],
)
async def test_a_change_is_judged_by_the_table(cell: str, solved: bool, tmp_path: Path, pool: KernelSource) -> None:
    (task,) = generate.load("dev", data_root(tmp_path, UPDATE)).tasks
    engine = Says(f"<execute>{cell}</execute>", "<solution>done</solution>")
    episode = await run_episode(task, engine, pool, EpisodeProtocol(), Sampling())
    assert episode.outcome.reason == ("solved" if solved else "wrong_answer"), episode.outcome


async def test_the_published_tasks_accept_their_answers_and_experts_change_the_tables(pool: KernelSource) -> None:
    if not (DATA / "agentbench_db").is_dir():
        pytest.skip(f"needs DBBench at {DATA / 'agentbench_db'} (CODEACT_DATA names another folder)")
    tasks = [*generate.load("dev", DATA).tasks, *generate.load("standard", DATA).tasks]
    assert len(tasks) == 360 and len({task.ref.digest for task in tasks}) == 360
    for task in tasks:
        known = json.loads(task.answer)
        assert judge(task.grader, known["hash"] or str(known["labels"]), task.answer).kind == "right"
        assert judge(task.grader, "a wrong answer", task.answer).kind == "wrong"
    changes = [task for task in tasks if task.expert]
    assert len(changes) == 239 and sum(bool(task.check) for task in tasks) == 240
    for task in changes[::12]:
        episode = await run_episode(task, ExpertSpec(error_share=0.0).build(task), pool, EpisodeProtocol(), Sampling())
        assert episode.outcome.success, (task.id, episode.messages, episode.outcome)
