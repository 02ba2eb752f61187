"""The section ``engines``: checks, collection and evaluation with a server that runs already; the verb of the bank."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from launch import stages
from launch.cli import app
from launch.config import ConfigError, dump, validate
from rollout import ray_session, read_trajectories
from rollout.bank.store import TrajectoryStore
from rollout.servers.scripted import Rule, Script, ScriptedBackend
from tests.helpers.episodes import record
from tests.helpers.fake_server import chat_reply, http_server

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "use-a-running-server.md"
KEY = "key-of-this-test"


def settings(url: str, run: Path, count: int = 4, **engine: Any) -> dict[str, Any]:
    """A configuration whose collection asks the server at ``url``."""
    workers = {"warm_kernels": 2, "kernel_memory_mib": 256, "episodes_per_worker": 4, "infra_retries": 1}
    source = {"engine": "there", "tasks": {"count": count}}
    return {
        "run": str(run),
        "engines": {"there": {"base_urls": [url], "model": "m", "retries": 0} | engine},
        "collect": {"sources": [source], "workers": workers},
        "evaluate": {
            "engines": ["there"],
            "base": False,
            "benchmarks": [{"name": "two", "tasks": {"split": "heldout", "count": 2}}],
            "workers": workers,
        },
    }


def test_a_refused_collection_stops_early_and_the_same_command_runs_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str | None] = []
    allowed = [3]  # answers before the key is refused

    def handle(path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        calls.append(headers.get("authorization"))
        assert path == "/v1/chat/completions" and headers["x-team"] == "agents" and json.loads(body)["model"] == "m"
        if len(calls) > allowed[0]:
            return 401, json.dumps({"error": {"message": f"Incorrect API key: {KEY}"}}).encode()
        return 200, json.dumps(chat_reply("<solution>0</solution>", reasoning_content="guess")).encode()

    monkeypatch.setenv("KEY_OF_THE_TEST", KEY)
    with http_server(handle) as url, ray_session():
        values = settings(url, tmp_path, 16, api_key_env="KEY_OF_THE_TEST", headers={"x-team": "agents"})
        config = validate(values, "test")
        with pytest.raises(ValueError, match=r"refuses every request .*401.* the same command") as stopped:
            stages.collect(config)
        assert KEY not in str(stopped.value)
        kept = list(read_trajectories(tmp_path / "bank"))
        assert len(kept) == 3 and all(not record.lost and record.model == "m" for record in kept)
        assert len(calls) < 3 + 16, "not every episode was tried"
        assert {turn.reasoning for record in kept for turn in record.messages if turn.role == "assistant"} == {"guess"}

        allowed[0] = 10**6
        assert "16 episodes" in stages.collect(config)
        records = list(read_trajectories(tmp_path / "bank"))
        assert records[:3] == kept and len({record.id for record in records}) == 16
        assert set(calls) == {f"Bearer {KEY}"}

        assert stages.evaluate(config) == "solved: there 0/2"
        allowed[0] = len(calls)
        assert stages.evaluate(config) == "solved: there 0/2"  # from the result file: no further call
        assert len(calls) == allowed[0]
        with pytest.raises(ValueError, match=r"evaluate there: 2 of 2 episodes were lost .*401.* same command"):
            stages.evaluate(config.model_copy(update={"evaluate": config.evaluate.model_copy(update={"seed": 1})}))
        assert len(list((tmp_path / "eval" / "engines" / "results").glob("*.json"))) == 1
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert written and not any(KEY.encode() in path.read_bytes() for path in written)
    assert KEY not in dump(config)


def test_the_example_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serve_here: Callable[[Any], str]
) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    url = serve_here(
        ScriptedBackend(
            Script(rules=(Rule(turn=0, reply="<execute>print(1)</execute>"), Rule(reply="<solution>1</solution>")))
        )
    )
    assert "http://127.0.0.1:8000/v1" in block
    file = tmp_path / "config.yaml"
    file.write_text(block.replace("http://127.0.0.1:8000/v1", url))
    run = [f"run={tmp_path}/run", "collect.workers.kernel_memory_mib=256", "evaluate.workers.kernel_memory_mib=256"]
    monkeypatch.delenv("TEACHER_KEY", raising=False)
    refused = CliRunner().invoke(app, ["collect", str(file), *run])
    assert refused.exit_code == 2 and "TEACHER_KEY is not set" in refused.output
    monkeypatch.setenv("TEACHER_KEY", "any")
    with ray_session():
        for verb in ("collect", "evaluate"):
            done = CliRunner().invoke(app, [verb, str(file), *run])
            assert done.exit_code == 0, done.output
    records = list(read_trajectories(tmp_path / "run" / "bank"))
    assert len(records) == 4 and {record.model for record in records} == {"scripted"}
    assert all(record.usage.cells == 1 for record in records)
    verified = CliRunner().invoke(app, ["bank", "verify", str(tmp_path / "run")])
    assert verified.exit_code == 0 and "4 trajectories" in verified.output and "2 trajectories" in verified.output


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"base_urls": []}, "engines.there.base_urls"),
        ({"base_urls": ["127.0.0.1:8000"]}, "write an address as http://HOST:PORT/v1"),
        ({"base_urls": [f"https://user:{KEY}@host/v1"]}, "an address holds no key"),
        ({"base_urls": [f"https://host/v1?key={KEY}"]}, "an address holds no key"),
        ({"api_key_env": f"sk-{KEY}"}, "not the key itself"),
        ({"headers": {"Authorization": f"Bearer {KEY}"}}, "name that in headers_env"),
        ({"headers": {"api-key": KEY}}, "name that in headers_env"),
        ({"headers": {"x-a": "line\nbreak"}}, "printable"),
        ({"headers_env": {"x-api-key": f"{KEY}-"}}, "not the key itself"),
        ({"retries": -1}, "engines.there.retries"),
    ],
)
def test_an_engine_that_cannot_be_used_is_refused_without_showing_a_key(
    tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        validate(settings("http://127.0.0.1:1/v1", tmp_path, **changes), "run.yaml")
    assert says in str(refused.value) and KEY not in str(refused.value)


def test_names_of_engines_are_checked(tmp_path: Path) -> None:
    values = settings("http://127.0.0.1:1/v1", tmp_path)
    for changes, says in (
        ({"engines": {"expert": values["engines"]["there"]}}, "engines.expert: an engine has this name already"),
        (
            {"collect": {"sources": [{"engine": "their"}]}},
            "collect.sources.0.engine: 'their' is not a reg",
        ),
        ({"collect": {"sources": [{"engine": "there", "engine_options": {"a": 1}}]}}, "move them to engines.there"),
        ({"evaluate": {"engines": ["model"]}}, "evaluate.engines: 'model' is not in the section engines"),
    ):
        with pytest.raises(ConfigError, match=re.escape(says)):
            validate(values | changes, "run.yaml")


def test_verify_names_file_line_and_reason(tmp_path: Path) -> None:
    with TrajectoryStore(tmp_path / "bank") as store:
        store.append(record(0))
    shard = tmp_path / "bank" / "trajectories-00001.jsonl"
    with shard.open("ab") as file:
        file.write(b'{"id": 1}\n')
    before = shard.read_bytes()
    for path in (tmp_path, tmp_path / "bank", shard):
        found = CliRunner().invoke(app, ["bank", "verify", str(path)])
        assert found.exit_code == 3
        assert f"{shard}, line 2: " in found.output and "1 line is bad and 1 sound" in found.output
    assert shard.read_bytes() == before
    nothing = CliRunner().invoke(app, ["bank", "verify", str(tmp_path / "empty")])
    assert nothing.exit_code == 2 and "there is no bank" in nothing.output
