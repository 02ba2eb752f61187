"""A server starts, answers, and ends with the process that started it."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest

import launch.serve
from launch.serve import ServeConfig, command, serve, serve_until_stopped
from tests.helpers.processes import running_child

SCRIPTED = ServeConfig(backend="scripted", start_timeout_s=120)


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    file = tmp_path / "rules.json"
    file.write_text(json.dumps({"rules": [{"reply": "hello"}], "name": "parrot"}))
    return file


def health(url: str) -> Any:
    return httpx2.get(url.replace("/v1", "/health"), timeout=5).json()


def test_a_server_answers_inside_the_block_and_is_gone_after_it(rules: Path, tmp_path: Path) -> None:
    with serve(rules, SCRIPTED, tmp_path / "logs" / "serve.log") as url:
        assert health(url)["model"] == "parrot"
    with pytest.raises(httpx2.TransportError):
        health(url)
    assert "parrot" in (tmp_path / "logs" / "serve.log").read_text()


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "rules.json").write_text('{"rulez": []}')
    with pytest.raises(ValueError, match=r"ended with code 2(.|\n)*rulez"):
        with serve(tmp_path / "rules.json", SCRIPTED, tmp_path / "log"):
            pytest.fail("it started")


@pytest.fixture
def answering_port() -> Iterator[int]:
    """The port of a program of somebody else's that answers ``/health``, as every web framework's example does."""

    class Healthy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with ThreadingHTTPServer(("127.0.0.1", 0), Healthy) as program:
        thread = threading.Thread(target=program.serve_forever)
        thread.start()
        yield program.server_address[1]
        program.shutdown()
        thread.join()


def test_a_port_of_another_program_is_refused_though_it_answers(
    rules: Path, tmp_path: Path, answering_port: int
) -> None:
    config = SCRIPTED.model_copy(update={"port": answering_port})
    with pytest.raises(ValueError, match=f"serve.port={answering_port}: .*another program holds the port"):
        with serve(rules, config, tmp_path / "serve.log"):
            pytest.fail("it took the other program for the server")
    assert not (tmp_path / "serve.log").exists()


def test_a_port_that_is_taken_while_the_model_loads_is_not_taken_for_the_server(
    rules: Path, tmp_path: Path, answering_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch.serve, "_usable_port", lambda config: answering_port)
    with pytest.raises(ValueError, match=r"ended with code 2 before it answered(.|\n)*another program holds the port"):
        with serve(rules, SCRIPTED, tmp_path / "serve.log"):
            pytest.fail("it took the other program for the server")


def test_a_host_that_is_not_this_machine_is_refused(rules: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"serve.host=203.0.113.1, serve.port=0: .*; give the address of this machine"):
        with serve(rules, SCRIPTED.model_copy(update={"host": "203.0.113.1"}), tmp_path / "log"):
            pytest.fail("it started")


def test_serving_ends_with_a_sentence_when_the_server_dies(rules: Path, tmp_path: Path) -> None:
    urls = []

    def kill(url: str) -> None:
        urls.append(url)
        running_child("rollout.servers").kill()

    with pytest.raises(ValueError, match="was killed by SIGKILL, which Linux sends when memory runs out"):
        serve_until_stopped(rules, SCRIPTED, tmp_path / "log", kill)
    with pytest.raises(httpx2.TransportError):
        health(urls[0])


def test_a_killed_driver_takes_its_server_along(rules: Path, tmp_path: Path) -> None:
    driver = (
        "import sys, time; from pathlib import Path; from launch.serve import ServeConfig, serve\n"
        f"with serve(Path({str(rules)!r}), ServeConfig(backend='scripted'), Path({str(tmp_path / 'log')!r})) as url:\n"
        "    print(url, flush=True); time.sleep(600)"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen([sys.executable, "-c", driver], stdout=subprocess.PIPE, text=True, env=environment)
    url = process.stdout.readline().strip()
    assert health(url)["status"] == "ok"
    process.send_signal(signal.SIGKILL)
    process.wait()
    with pytest.raises(httpx2.TransportError):  # refused, or the server ends during the request
        while health(url):  # endless if the server outlives its driver
            time.sleep(0.05)


def test_the_command_for_vllm() -> None:
    config = ServeConfig(
        backend="vllm", tensor_parallel=4, max_batched_tokens=8192, arguments=("--max-model-len=4096",)
    )
    words = command(Path("/models/llama"), config, 8000, "epoch-1")
    assert words[:3] == ["vllm", "serve", "/models/llama"]
    line = " ".join(words)
    for expected in (
        "--host 127.0.0.1 --port 8000",
        "--served-model-name epoch-1",
        "--tensor-parallel-size 4",
        "--max-num-batched-tokens 8192",
        "--max-model-len=4096",
    ):
        assert expected in line


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ValueError, match="thread"):
        ServeConfig.model_validate({"thread": 2})
