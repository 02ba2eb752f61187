"""The HTTP service as clients use it: kernels, cells, events, files, idempotency keys, leases."""

import asyncio
import base64
import json

import pytest

from sandbox import probe
from sandbox.workspace.files import put_file
from tests.helpers.kernel_service import ALICE, BOB, Api, exists, until

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_kernel_is_made_keeps_its_state_and_goes(api: Api) -> None:
    path = await api.kernel(files={"a.txt": base64.b64encode(b"first").decode()})
    assert (await api.run(path, "x = 41; open('a.txt').read()"))["value"] == "'first'"
    result = await api.run(path, "print('hi')\nx + 1")
    assert (result["status"], result["stdout"], result["value"]) == ("ok", "hi\n", "42")
    status, listed = await api("GET", "/v1/kernels")
    assert status == 200 and [f"/v1/kernels/{kernel['id']}" for kernel in listed] == [path]
    assert listed[0]["tier"] == probe().tier
    assert (await api("DELETE", path))[0] == 204
    assert (await api("POST", f"{path}/execute", json={"code": "1"}))[0] == 404


async def test_what_the_code_does_is_in_the_result_and_not_in_the_status(api: Api) -> None:
    path = await api.kernel()
    result = await api.run(path, "import os; os._exit(3)")
    assert (result["status"], result["state_survived"]) == ("died", False)
    assert (await api.run(path, "1 / 0"))["error_name"] == "ZeroDivisionError"
    assert (await api.run(path, "while True: pass", timeout_s=0.2))["status"] == "timeout_interrupted"


async def test_events_come_while_the_cell_runs_and_end_with_the_whole_result(api: Api) -> None:
    path = await api.kernel()
    code = "import os, time\nprint('one')\nwhile not os.path.exists('go'): time.sleep(0.01)\n"
    code += "from IPython.display import HTML, display; display(HTML('<b>')); 6 * 7"
    body = {"code": code, "stream": True}
    headers = {"Authorization": f"Bearer {ALICE}"}
    async with api.client.stream("POST", f"{path}/execute", json=body, headers=headers) as answer:
        text, lines = "", answer.aiter_lines()
        while text != "one\n":  # although the cell waits for a file
            event = json.loads(await anext(lines))
            assert (event["event"], event["name"]) == ("stream", "stdout")
            text += event["text"]
        lease = api.service.leases.all()[0]
        put_file(lease.kernel.process.workspace, "go", b"", 1)
        rest = [json.loads(line) async for line in lines]
    assert [event["event"] for event in rest] == ["display", "value", "result"]
    assert rest[0]["data"]["text/html"] == "<b>" and rest[1]["data"]["text/plain"] == "42"
    assert (rest[2]["result"]["status"], rest[2]["result"]["stdout"]) == ("ok", "one\n")


async def test_interrupt_ends_the_cell_and_keeps_the_state(api: Api) -> None:
    path = await api.kernel()
    await api.run(path, "x = 1")
    assert (await api("POST", f"{path}/interrupt"))[1] == {"interrupted": False}
    running = asyncio.ensure_future(api.run(path, "while True: pass"))
    while not (await api("POST", f"{path}/interrupt"))[1]["interrupted"]:
        await asyncio.sleep(0.01)
    result = await running
    assert (result["status"], result["error_name"], result["state_survived"]) == ("error", "KeyboardInterrupt", True)
    assert (await api.run(path, "x"))["value"] == "1"


async def test_a_fork_has_the_state_and_goes_its_own_way(api: Api) -> None:
    path = await api.kernel()
    await api.run(path, "x = [1]")
    status, made = await api("POST", f"{path}/fork", json={})
    branch = f"/v1/kernels/{made['id']}"
    assert status == 201 and branch != path
    await api.run(branch, "x.append(2)")
    assert ((await api.run(path, "x"))["value"], (await api.run(branch, "x"))["value"]) == ("[1]", "[1, 2]")


async def test_restart_brings_the_first_files_back_and_no_variables(api: Api) -> None:
    path = await api.kernel(files={"a.txt": base64.b64encode(b"first").decode()})
    await api.run(path, "x = 1; open('a.txt', 'w').write('second')")
    assert (await api("POST", f"{path}/restart"))[0] == 204
    assert (await api.run(path, "'x' in globals(), open('a.txt').read()"))["value"] == "(False, 'first')"


async def test_files_are_raw_bytes_inside_the_workspace(api: Api) -> None:
    path = await api.kernel()
    data = bytes(range(256))
    assert (await api("PUT", f"{path}/files/deep/b.bin", content=data))[0] == 204
    assert (await api.run(path, "len(open('deep/b.bin', 'rb').read())"))["value"] == "256"
    assert await api("GET", f"{path}/files/deep/b.bin") == (200, data)
    await api.run(path, "import os; os.symlink('/etc/passwd', 'link')")
    for name, status in (("none", 404), ("link", 422), ("deep", 422)):
        found, body = await api("GET", f"{path}/files/{name}")
        assert found == status and body["error"]["message"], name
    for name in ("%2e%2e%2fup", "deep%00b", "deep/b.bin/c"):
        status, body = await api("PUT", f"{path}/files/{name}", content=b"x")
        assert (status, body["error"]["kind"]) == (422, "bad_request"), name
    status, body = await api("GET", f"{path}/files/deep%2fb.bin%00c")
    assert status == 422 and "deep/b.bin\\x00c" in body["error"]["message"]
    assert (await api("PUT", f"{path}/files/big", content=bytes(2 << 20)))[0] == 413


async def test_the_same_request_id_is_the_same_request_also_while_it_runs(api: Api) -> None:
    path = await api.kernel()
    await api.run(path, "n = 0")
    body = {"code": "import time\nn += 1\ntime.sleep(0.3)\nn"}
    both = await asyncio.gather(*(api("POST", f"{path}/execute", json=body, key="one") for _ in range(2)))
    late = await api("POST", f"{path}/execute", json=body, key="one")
    assert both[0] == both[1] == late and late[1]["value"] == "1"
    status, other = await api("POST", f"{path}/execute", json={"code": "n"}, key="one")
    assert status == 409 and other["error"]["kind"] == "conflict"
    assert (await api("POST", f"{path}/execute", json=body, key="two"))[1]["value"] == "2"


async def test_a_repeated_create_or_fork_makes_one_kernel(api: Api) -> None:
    made = await asyncio.gather(*(api("POST", "/v1/kernels", json={}, key="make") for _ in range(3)))
    assert len({kernel["id"] for _, kernel in made}) == 1
    path = f"/v1/kernels/{made[0][1]['id']}"
    forks = [await api("POST", f"{path}/fork", json={}, key="branch") for _ in range(2)]
    assert forks[0][1]["id"] == forks[1][1]["id"] and len((await api("GET", "/v1/kernels"))[1]) == 2


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_goes_away_leaves_no_running_cell(api: Api, stream: bool) -> None:
    path = await api.kernel()
    await api.run(path, "x = 5")
    lost = asyncio.ensure_future(
        api("POST", f"{path}/execute", json={"code": "x = 6; open('on', 'w')\nwhile True: pass", "stream": stream})
    )
    lease = api.service.leases.all()[0]
    await until(lambda: exists(lease, "on"))
    lost.cancel()
    await until(lambda: not lease.cell_lock.locked())
    assert (await api.run(path, "x"))["value"] == "6"  # interrupted, not killed


async def test_a_waiting_cell_whose_client_goes_away_never_runs(api: Api) -> None:
    path = await api.kernel()
    running = asyncio.ensure_future(api.run(path, "import time; time.sleep(0.5)"))
    lease = api.service.leases.all()[0]
    await until(lease.cell_lock.locked)
    waiting = asyncio.ensure_future(api("POST", f"{path}/execute", json={"code": "y = 1"}))
    await until(lambda: api.service.running["alice"] == 2)
    waiting.cancel()
    await running
    assert (await api.run(path, "'y' in globals()"))["value"] == "False"


async def test_a_client_with_a_request_id_may_come_back_to_its_cell(api: Api) -> None:
    path = await api.kernel()
    lease = api.service.leases.all()[0]
    body = {"code": "open('on', 'w')\nimport os, time\nwhile not os.path.exists('go'): time.sleep(0.01)\n7"}
    lost = asyncio.ensure_future(api("POST", f"{path}/execute", json=body, key="k"))
    await until(lambda: exists(lease, "on"))
    lost.cancel()
    again = asyncio.ensure_future(api("POST", f"{path}/execute", json=body, key="k"))
    put_file(lease.kernel.process.workspace, "go", b"", 1)
    assert (await again)[1]["value"] == "7"


async def test_a_lease_nobody_renews_ends_and_any_call_renews_it(api: Api) -> None:
    kept, lost = await api.kernel(lease_s=100), await api.kernel(lease_s=100)
    process = api.service.leases.all()[1].kernel.process
    api.clock.now += 60
    assert (await api("GET", kept))[1]["left_s"] == 100
    api.clock.now += 60
    await api.service.reap()
    assert (await api("GET", lost))[0] == 404 and process.exited.done()
    assert (await api.run(kept, "1"))["value"] == "1"


async def test_who_asks_for_no_lease_gets_the_usual_one_or_what_may_be_had(api: Api) -> None:
    assert (await api("GET", await api.kernel()))[1]["lease_s"] == 600
    assert (await api("GET", await api.kernel(BOB), BOB))[1]["lease_s"] == 30
    status, refused = await api("POST", "/v1/kernels", BOB, json={"lease_s": 31})
    assert status == 422 and "lease_s=31: the most you may ask for is 30" in refused["error"]["message"]


async def test_a_lease_does_not_end_under_a_running_cell(api: Api) -> None:
    path = await api.kernel(lease_s=10)
    lease = api.service.leases.all()[0]
    running = asyncio.ensure_future(api.run(path, "import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)"))
    await until(lease.cell_lock.locked)
    api.clock.now += 1000
    await api.service.reap()
    put_file(lease.kernel.process.workspace, "go", b"", 1)
    assert (await running)["status"] == "ok"


async def test_a_tenant_with_checkpoints_loses_a_cell_and_not_its_state(api: Api) -> None:
    path = await api.kernel(BOB)
    for code in ("x = 5", "x = 6; import os; os._exit(1)"):
        status, result = await api("POST", f"{path}/execute", BOB, json={"code": code})
    assert (status, result["status"], result["rolled_back"], result["state_survived"]) == (200, "died", True, True)
    assert (await api("POST", f"{path}/execute", BOB, json={"code": "x"}))[1]["value"] == "5"
