"""The verbs about kernels: what they print, when they fail, and that a service ends with all its kernels."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

TOKEN = "a-token-of-this-test"
TIER = "T1"  # needs nothing but Landlock
STARTS = ("numpy and pandas loaded", "stock with nothing imported")


def codeact(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "launch.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=os.environ | environment)


def test_probe_says_what_holds_in_words_and_as_json() -> None:
    shown = codeact("sandbox", "probe")
    assert shown.returncode == 0 and "(best here)" in shown.stdout
    report = json.loads(codeact("sandbox", "probe", "--json").stdout)
    assert {"files", "network", "memory"} <= set(report["properties"][report["tier"]])


def test_the_suite_judges_stock_kernels_and_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three cases; the whole of it is a slow test of its own. For stock kernels nothing is promised."""
    from typer.testing import CliRunner

    from launch.cli import app
    from sandbox.security_suite import run

    some = ("read a secret of the host", "fork bomb", "a token in the environment")
    monkeypatch.setattr(run, "CASES", [case for case in run.CASES if case.name in some])
    shown = CliRunner().invoke(app, ["sandbox", "security-suite", "--kernel", "stock", "--json"])
    verdicts = {score["case"]: score["verdict"] for score in json.loads(shown.stdout)["scores"]}
    assert shown.exit_code == 0
    assert verdicts == dict(zip(some, ("not promised", "not run", "not promised"), strict=True))
    shown = CliRunner().invoke(app, ["sandbox", "battery", "--tier", "T1"])
    assert shown.exit_code == 0 and "| all | 3 | 3 | 0 | 0 | 0 |" in shown.stdout


@pytest.mark.slow
def test_bench_and_soak_as_json_agree_with_their_exit_codes() -> None:
    bench = codeact("sandbox", "bench", "--tier", TIER, "--starts", "3", "--cells", "10", "--kernels", "2", "--json")
    figures = {figure["name"]: figure for figure in json.loads(bench.stdout)["figures"]}
    assert len(figures) >= 9 and all(figure["ours"] is not None for figure in figures.values())
    judged, shown_only = (figures[f"start, {what}, {TIER}, ms"] for what in STARTS)
    assert judged["met"] is not None and shown_only["met"] is None and shown_only["rival"] is not None
    assert bench.returncode == any(figure["met"] is False for figure in figures.values())
    soak = codeact("sandbox", "soak", "--tier", TIER, "--kernels", "5", "--cycles", "20", "--json")
    assert soak.returncode == 0, soak.stdout
    assert json.loads(soak.stdout)["growth"][-1]["cycles"] == 20


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--host", "0.0.0.0"], "--tenants FILE or --token"),
        (["--token", "short"], "16 or more"),
        (["--tenants", "nowhere.yaml"], "nowhere.yaml: cannot be read"),
        (["--tenants", "nowhere.yaml", "--token", TOKEN], "remove --token"),
        (["--tenants", "nowhere.yaml", "--checkpoint"], "and --checkpoint"),
        (["--port", "1", "--host", "203.0.113.1", "--token", TOKEN], "cannot listen there"),
        (["--port", "0", "--preload", "nosuch", "--token", TOKEN], "No module named 'nosuch'"),
        (
            ["--tier", "T0", "--require", "files", "--token", TOKEN],
            "files cannot be enforced in tier T0 here (files has nothing)",
        ),
    ],
)
def test_a_service_that_must_not_or_cannot_start_says_why(arguments: list[str], said: str) -> None:
    refused = codeact("serve", "sandbox", *arguments)
    assert refused.returncode == 2 and said in refused.stderr and "Traceback" not in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1, refused.stderr


@pytest.fixture
def service() -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "launch.cli", "serve", "sandbox", "--port", "0", "--warm", "1"]
    command += ["--preload", "", "--tier", TIER]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=os.environ | {"CODEACT_SANDBOX_TOKEN": TOKEN}
    ) as child:
        assert child.stderr is not None
        line = child.stderr.readline()
        yield child, line.split(" at ")[1].split(";")[0]
        child.kill()


def read(url: str, path: str, body: Any = None) -> bytes:
    request = urllib.request.Request(url + path, headers={"Authorization": f"Bearer {TOKEN}"})
    if body is not None:
        request.data, request.headers["Content-type"] = json.dumps(body).encode(), "application/json"
    with urllib.request.urlopen(request, timeout=30) as answer:
        return bytes(answer.read())


def call(url: str, path: str, body: Any = None) -> Any:
    return json.loads(read(url, path, body))


def test_a_running_cell_ends_with_the_service_and_hears_why(service: tuple[subprocess.Popen[str], str]) -> None:
    child, url = service
    path = f"/v1/kernels/{call(url, '/v1/kernels', {})['id']}/execute"
    other = f"/v1/kernels/{call(url, '/v1/kernels', {})['id']}/execute"
    heard: dict[str, Any] = {}

    def run_for_ever(path: str, **more: Any) -> None:
        try:
            heard[path] = json.loads(read(url, path, {"code": "while True: pass", **more}).splitlines()[-1])
        except urllib.error.HTTPError as error:
            heard[path] = {"status": error.code, **json.loads(error.read())}

    callers = [
        threading.Thread(target=run_for_ever, args=[path]),
        threading.Thread(target=run_for_ever, args=[other], kwargs={"stream": True}),
    ]
    for caller in callers:
        caller.start()
    while 'codeact_sandbox_cells_running{tenant="local"} 2.0' not in read(url, "/metrics").decode():
        time.sleep(0.01)
    child.terminate()
    assert child.communicate(timeout=20)[1] == ""
    for caller in callers:
        caller.join(20)
    error = {"kind": "sandbox", "message": "the service was ended while the cell ran"}
    assert heard == {path: {"status": 503, "error": error}, other: {"event": "error", "error": error}}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_service_ends_with_its_kernels(service: tuple[subprocess.Popen[str], str], number: int) -> None:
    child, url = service
    kernel = call(url, "/v1/kernels", {})
    assert kernel["tier"] == TIER
    code = "import os; os.getpid()"
    pid = int(call(url, f"/v1/kernels/{kernel['id']}/execute", {"code": code})["value"])
    assert Path(f"/proc/{pid}").exists()
    child.send_signal(number)
    child.wait(20)
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    with pytest.raises(urllib.error.URLError):
        call(url, "/v1/kernels")
