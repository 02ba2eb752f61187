"""Interrupts of stock Jupyter clients: by signal, as managers do, and by message."""

from pathlib import Path

import pytest
from jupyter_client.manager import start_new_kernel

from sandbox import probe
from sandbox.jupyter.provisioner import install_kernelspec
from tests.helpers.jupyter import CONFIG, outputs_of


@pytest.mark.parametrize("tier", ["T3", "T2", "T1"])
@pytest.mark.parametrize("way", ["signal", "message"])
def test_a_stock_client_interrupts_a_command(
    tier: str, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if tier not in probe().properties:
        pytest.skip(f"tier {tier} is not available here: {probe().missing}")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    install_kernelspec(tmp_path, "sandboxed", tier=tier, **CONFIG)
    manager, client = start_new_kernel(kernel_name="sandboxed", startup_timeout=60)
    try:
        outputs_of(client, "x = 5")
        client.execute("print('running', flush=True)\n!sleep 1000")
        while (message := client.get_iopub_msg(timeout=30))["msg_type"] != "stream":
            pass
        assert client.hb_channel.is_beating()
        if way == "signal":
            manager.interrupt_kernel()
        else:
            request = client.session.msg("interrupt_request", {})
            client.control_channel.send(request)
            answer = client.get_control_msg(timeout=30)
            assert (answer["msg_type"], answer["content"]["status"]) == ("interrupt_reply", "ok")
            assert answer["parent_header"]["msg_id"] == request["header"]["msg_id"]
        reply = client.get_shell_msg(timeout=30)
        assert reply["content"]["ename"] == "KeyboardInterrupt" and message["content"]["text"] == "running\n"
        assert outputs_of(client, "x") == ("ok", ["5"])
        client.control_channel.send(client.session.msg("kernel_info_request", {}))
        assert client.get_control_msg(timeout=30)["content"]["implementation"] == "codeact-light"
        assert outputs_of(client, "import threading\nthreading.active_count()") == ("ok", ["1"])
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
