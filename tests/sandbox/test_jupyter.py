"""Kernels of the sandbox under stock Jupyter clients, and stock ipykernel behind the kernel handle."""

import queue
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.manager import KernelManager, start_new_kernel

from sandbox import KernelPool, Limits, SandboxError, probe
from sandbox.jupyter.provisioner import install_kernelspec
from tests.helpers.jupyter import CONFIG, outputs_of

BOMB = "import os, time\nfor _ in range(80):\n    if os.fork() == 0: time.sleep(30)\ntime.sleep(30)"


def test_every_kernel_has_its_own_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    install_kernelspec(tmp_path, "sandboxed", **CONFIG)
    sessions = set()
    for _ in range(2):
        manager, client = start_new_kernel(kernel_name="sandboxed", startup_timeout=60)
        try:
            sessions.add(client.execute_interactive("1", timeout=30, output_hook=lambda _: None)["header"]["session"])
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)
    assert len(sessions) == 2


@pytest.mark.parametrize("kernel", ["light", "ipykernel"])
def test_a_stock_manager_starts_talks_to_interrupts_and_restarts_it(
    kernel: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "a.txt").write_text("of the host")
    policy = {"read_only": {str(shared): str(shared)}}
    install_kernelspec(tmp_path, "sandboxed", kernel=kernel, policy=policy, **CONFIG)
    manager, client = start_new_kernel(kernel_name="sandboxed", startup_timeout=60)
    try:
        assert outputs_of(client, "x = 20\nprint('hi')\nx + 1") == ("ok", ["hi\n", "21"])
        assert outputs_of(client, "1 / 0") == ("error", ["ZeroDivisionError"])
        assert outputs_of(client, "open('/etc/shadow')")[0] == "error"
        assert outputs_of(client, f"open('{shared}/a.txt').read()") == ("ok", ["'of the host'"])
        message = client.execute("while True: pass")
        with pytest.raises(queue.Empty):
            client.get_shell_msg(timeout=0.3)
        manager.interrupt_kernel()
        reply = client.get_shell_msg(timeout=10)
        assert reply["parent_header"]["msg_id"] == message and reply["content"]["ename"] == "KeyboardInterrupt"
        assert (
            client.is_complete("for i in x:") and client.get_shell_msg(timeout=10)["content"]["status"] == "incomplete"
        )
        manager.restart_kernel(now=True)
        client.wait_for_ready(timeout=60)
        assert outputs_of(client, "x") == ("error", ["NameError"])
        assert manager.is_alive()
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert not manager.is_alive()


SETTING = """import numpy as np
class Part:
    alpha = 1
    def turn(self, degrees: int) -> str:
        "Turns it."
class Endless:
    def __dir__(self):
        while True: pass
part, endless, table = Part(), Endless(), {"key one": 1}"""


def test_a_notebook_may_ask_for_completion_inspection_and_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    install_kernelspec(tmp_path, "sandboxed", **CONFIG)
    manager, client = start_new_kernel(kernel_name="sandboxed", startup_timeout=60)

    def ask(question: str, *arguments: object, **options: object) -> dict:
        message = getattr(client, question)(*arguments, **options)
        reply = client.get_shell_msg(timeout=30)
        assert reply["parent_header"]["msg_id"] == message
        return reply["content"]

    def completed(code: str) -> list[str]:
        said = ask("complete", code)
        return [code[: said["cursor_start"]] + match + code[said["cursor_end"] :] for match in said["matches"]]

    try:
        for code in (SETTING, "part.alpha"):
            client.execute_interactive(code, timeout=30, output_hook=lambda _: None)
        assert completed("x = 1\npart.t") == ["x = 1\npart.turn"]
        assert completed("np.linsp") == ["np.linspace"]
        assert completed("table['k") == ["table['key one"]
        assert completed("nothing.") == []
        found = ask("inspect", "part.turn(90)", cursor_pos=7)
        assert found["found"] and "part.turn(degrees: int) -> str" in found["data"]["text/plain"]
        assert "Turns it." in found["data"]["text/plain"]
        assert ask("inspect", "nothing")["found"] is False
        assert ask("history", hist_access_type="tail", n=1)["history"] == [[0, 2, "part.alpha"]]
        assert ask("history", hist_access_type="range", start=1, stop=2)["history"] == [[0, 1, SETTING]]
        asked = {"hist_access_type": "search", "pattern": "part.*", "output": True}
        assert ask("history", **asked)["history"] == [[0, 2, ["part.alpha", "1"]]]
        assert ask("history", **{**asked, "pattern": "import*"})["history"] == [[0, 1, [SETTING, None]]]
        assert ask("comm_info") == {"status": "ok", "comms": {}}
        client.complete("endless.")
        with pytest.raises(queue.Empty):
            client.get_shell_msg(timeout=0.3)
        manager.interrupt_kernel()
        client.get_shell_msg(timeout=10)
        assert outputs_of(client, "7") == ("ok", ["7"])  # and the next cell is the third
        assert ask("history", hist_access_type="tail", n=1)["history"] == [[0, 3, "7"]]
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_a_cell_may_ask_the_person_at_the_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    install_kernelspec(tmp_path, "sandboxed", **CONFIG)
    manager, client = start_new_kernel(kernel_name="sandboxed", startup_timeout=60)
    questions: list[dict] = []

    def answer(message: dict) -> None:
        questions.append(message["content"])
        client.input("\x04" if message["content"]["prompt"] == "more? " else "Ada")

    def run(code: str, allow_stdin: bool = True) -> list[str]:
        return outputs_of(client, code, allow_stdin=allow_stdin, stdin_hook=answer)[1]

    try:
        assert run("print('first')\nprint('Hello', input('who? '))") == ["first\nHello Ada\n"]
        assert run("import getpass\nprint(getpass.getpass('word? '))") == ["Ada\n"]
        assert run("input('more? ')")[-1] == "EOFError"
        assert run("input('nobody? ')", allow_stdin=False)[-1] == "EOFError"
        assert questions == [
            {"prompt": "who? ", "password": False}, {"prompt": "word? ", "password": True},
            {"prompt": "more? ", "password": False},
        ]  # fmt: skip
        asking = client.execute("input('never? ')", allow_stdin=True)
        assert client.get_stdin_msg(timeout=30)["content"]["prompt"] == "never? "
        manager.interrupt_kernel()
        reply = client.get_shell_msg(timeout=30)
        assert (reply["parent_header"]["msg_id"], reply["content"]["ename"]) == (asking, "KeyboardInterrupt")
        assert "".join(run("print(input('who? '))")) == "Ada\n"
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KernelManager]:
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    (shared := tmp_path / "shared").mkdir()
    install_kernelspec(tmp_path, "sandboxed", policy={"read_only": {str(shared): str(shared)}}, **CONFIG)
    manager = KernelManager(kernel_name="sandboxed")
    manager.start_kernel()
    yield manager
    manager.shutdown_kernel(now=True)


@contextmanager
def client_of(manager: KernelManager) -> Iterator[Any]:
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    try:
        yield client
    finally:
        client.stop_channels()


def test_a_second_client_of_a_manager_is_answered_and_the_first_hears_of_it(manager: KernelManager) -> None:
    with client_of(manager) as first, client_of(manager) as second:
        assert outputs_of(second, "x = 1; x") == ("ok", ["1"])
        assert outputs_of(second, "x + 1") == ("ok", ["2"])
        shown = iter(lambda: first.get_iopub_msg(timeout=30), None)
        inputs = (m["content"] for m in shown if m["msg_type"] == "execute_input")
        assert next(inputs) == {"code": "x = 1; x", "execution_count": 1}
        assert next(inputs) == {"code": "x + 1", "execution_count": 2}


def test_cells_that_wait_behind_one_that_fails_are_not_run(manager: KernelManager, tmp_path: Path) -> None:
    with client_of(manager) as client:
        go = tmp_path / "shared" / "go"
        client.execute(f"import os, time\nwhile not os.path.exists('{go}'): time.sleep(0.01)\n1 / 0")
        for code in ("x = 1", "x = 2"):
            client.execute(code)
        client.kernel_info()
        go.touch()
        statuses = [client.get_shell_msg(timeout=30)["content"]["status"] for _ in range(4)]
        assert statuses == ["error", "aborted", "aborted", "ok"]
        assert outputs_of(client, "x") == ("error", ["NameError"])


def test_user_expressions_are_evaluated(manager: KernelManager) -> None:
    with client_of(manager) as client:
        client.execute("x = 20", user_expressions={"more": "x + 1", "none": "y"})
        values = client.get_shell_msg(timeout=30)["content"]["user_expressions"]
        assert values["more"]["data"]["text/plain"] == "21"
        assert values["none"]["ename"] == "NameError"


@pytest.mark.parametrize(("code", "tier"), [("import os; os._exit(1)", ""), (BOMB, "T1")], ids=["exit", "watched"])
def test_a_death_is_seen_by_the_manager(code: str, tier: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if tier and tier not in probe().properties:
        pytest.skip(f"tier {tier} is not available here")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    monkeypatch.setattr("sandbox.host.watchdog.INTERVAL_S", 0.05)
    install_kernelspec(tmp_path, "sandboxed", tier=tier, **CONFIG)
    manager = KernelManager(kernel_name="sandboxed")
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    client.execute(code)
    for _ in range(500):
        if not manager.is_alive():
            break
        with pytest.raises(queue.Empty):
            client.get_stdin_msg(timeout=0.02)
    assert not manager.is_alive()
    client.stop_channels()
    manager.shutdown_kernel(now=True)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"teir": "T1"}, "teir is no setting; use tier, kernel, preload, limits, policy, require"),
        ({"limits": {"memory": 1}}, "memory"),
        ({"require": ["moon"]}, "moon"),
    ],
)
def test_a_kernel_spec_that_asks_for_something_missing_is_refused(
    config: dict, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    install_kernelspec(tmp_path, "sandboxed", **{**CONFIG, **config})
    with pytest.raises((ValueError, SandboxError), match=says):
        KernelManager(kernel_name="sandboxed").start_kernel()


@pytest.mark.parametrize("tier", ["T3", "T1"])
async def test_stock_ipykernel_behind_the_handle(tier: str) -> None:
    if tier not in probe().properties:
        pytest.skip(f"tier {tier} is not available here")
    limits = Limits(cell_timeout_s=20.0, output_chars=1000)
    async with KernelPool(size=0, limits=limits, preload=(), tier=tier, kernel="ipykernel") as pool:
        kernel = await pool.acquire(tools={"double": lambda x: 2 * x}, files={"a.txt": b"text"})
        result = await kernel.run("print(open('a.txt').read())\ndouble(21)")
        assert (result.status, result.stdout, result.value, result.tool_calls) == ("ok", "text\n", "42", 1)
        error = await kernel.run("1 / 0")
        assert error.error_name == "ZeroDivisionError" and "\x1b" not in error.traceback
        assert (await kernel.run("!echo shell")).stdout == "shell\n"
        assert (await kernel.run("while True: pass", timeout_s=0.3)).status == "timeout_interrupted"
        flood = await kernel.run("for i in range(500): print('y' * 100_000)")
        assert (flood.status, flood.state_survived) == ("output_limit", False)
        assert (await kernel.run("double(1)")).value == "2"
        await kernel.close()


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"kernel": "foo"}, "kernel must be one of light, ipykernel"),
        ({"limits": {"memory": 100}}, "limits.memory: unknown key; did you mean 'memory_mib'?"),
        ({"limits": {"memory_mib": 1}}, "limits.memory_mib: Input should be greater than or equal to 64 (given: 1)"),
    ],
)
def test_a_misspelt_setting_of_a_kernel_spec_is_named(
    config: dict, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    install_kernelspec(tmp_path, "misspelt", **config)
    with pytest.raises(ValueError, match=re.escape(sentence)) as refused:
        KernelManager(kernel_name="misspelt").start_kernel()
    assert "\n" not in str(refused.value)


def test_the_kernel_spec_of_another_kernel_stays(tmp_path: Path) -> None:
    ours = install_kernelspec(tmp_path, "sandboxed")
    assert install_kernelspec(tmp_path, "sandboxed", kernel="ipykernel") == ours
    other = tmp_path / "kernels" / "python3" / "kernel.json"
    other.parent.mkdir(parents=True)
    other.write_text('{"argv": ["python3"]}')
    with pytest.raises(ValueError, match="another kernel"):
        install_kernelspec(tmp_path, "python3")
    assert other.read_text() == '{"argv": ["python3"]}'
