"""The HTTP service as its clients meet it: kernels, cells, events, files, leases, limits, refusals."""

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from serving import served, small_pool

from sandbox import Limits, probe
from sandbox.service.service import SandboxService
from sandbox.service.tenants import Tenant, Tenants
from sandbox.workspace.files import get_file, put_file

pytestmark = pytest.mark.asyncio(loop_scope="module")
ALICE, BOB = "alice-has-a-long-token", "bob-has-another-token"
LIMITS = Limits(memory_mib=256, cell_timeout_s=10, output_chars=1000, interrupt_grace_s=0.5)


class Clock:
    """Time that passes when a test says so."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Api:
    """A client of the running service."""

    def __init__(self, url: str, service: SandboxService, clock: Clock) -> None:
        self.url, self.service, self.clock = url, service, clock
        self.session = aiohttp.ClientSession()

    async def __call__(self, method: str, path: str, token: str | None = ALICE, **given: Any) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers |= {"Idempotency-Key": given.pop("key")} if "key" in given else {}
        async with self.session.request(method, self.url + path, headers=headers, **given) as answer:
            if answer.content_type == "application/json":
                return answer.status, await answer.json()
            return answer.status, await answer.read()

    async def kernel(self, token: str = ALICE, **body: Any) -> str:
        status, made = await self("POST", "/v1/kernels", token, json=body)
        assert status == 201, made
        return f"/v1/kernels/{made['id']}"

    async def run(self, path: str, code: str, **body: Any) -> dict[str, Any]:
        status, result = await self("POST", f"{path}/execute", json={"code": code, **body})
        assert status == 200, result
        return result


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api() -> AsyncIterator[Api]:
    tenants = Tenants([
        Tenant(name="alice", token=ALICE, max_kernels=4, max_cells=2, limits=LIMITS, operator=True, open_execute=True,
               max_file_mib=1, max_cell_timeout_s=60),
        Tenant(name="bob", token=BOB, max_kernels=4, limits=LIMITS, checkpoint=True, max_lease_s=30),
    ])  # fmt: skip
    clock = Clock()
    service = SandboxService(tenants, small_pool, clock)
    async with served(service) as url:
        api = Api(url, service, clock)
        yield api
        await api.session.close()


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def _no_kernel_stays(api: Api) -> AsyncIterator[None]:
    yield
    await asyncio.gather(*(api.service.delete(lease) for lease in api.service.leases.every()))


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
    async with api.session.post(f"{api.url}{path}/execute", json=body, headers=headers) as answer:
        text = ""
        while text != "one\n":  # although the cell waits for a file
            event = json.loads(await answer.content.readline())
            assert (event["event"], event["name"]) == ("stream", "stdout")
            text += event["text"]
        lease = api.service.leases.every()[0]
        put_file(lease.kernel.process.workspace, "go", b"", 1)
        rest = [json.loads(line) async for line in answer.content]
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
    assert (await api("PUT", f"{path}/files/deep/b.bin", data=data))[0] == 204
    assert (await api.run(path, "len(open('deep/b.bin', 'rb').read())"))["value"] == "256"
    assert await api("GET", f"{path}/files/deep/b.bin") == (200, data)
    await api.run(path, "import os; os.symlink('/etc/passwd', 'link')")
    for name, status in (("none", 404), ("link", 422), ("deep", 422)):
        found, body = await api("GET", f"{path}/files/{name}")
        assert found == status and body["error"]["message"], name
    for name in ("%2e%2e%2fup", "deep%00b", "deep/b.bin/c"):
        status, body = await api("PUT", f"{path}/files/{name}", data=b"x")
        assert (status, body["error"]["kind"]) == (422, "bad_request"), name
    status, body = await api("GET", f"{path}/files/deep%2fb.bin%00c")
    assert status == 422 and "deep/b.bin\\x00c" in body["error"]["message"]
    assert (await api("PUT", f"{path}/files/big", data=bytes(2 << 20)))[0] == 413


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
    lease = api.service.leases.every()[0]
    await _until(lambda: _exists(lease, "on"))
    lost.cancel()
    await _until(lambda: not lease.turn.locked())
    assert (await api.run(path, "x"))["value"] == "6"  # interrupted, not killed


async def test_a_waiting_cell_whose_client_goes_away_never_runs(api: Api) -> None:
    path = await api.kernel()
    running = asyncio.ensure_future(api.run(path, "import time; time.sleep(0.5)"))
    lease = api.service.leases.every()[0]
    await _until(lease.turn.locked)
    waiting = asyncio.ensure_future(api("POST", f"{path}/execute", json={"code": "y = 1"}))
    await _until(lambda: api.service.running["alice"] == 2)
    waiting.cancel()
    await running
    assert (await api.run(path, "'y' in globals()"))["value"] == "False"


async def test_a_client_with_a_request_id_may_come_back_to_its_cell(api: Api) -> None:
    path = await api.kernel()
    lease = api.service.leases.every()[0]
    body = {"code": "open('on', 'w')\nimport os, time\nwhile not os.path.exists('go'): time.sleep(0.01)\n7"}
    lost = asyncio.ensure_future(api("POST", f"{path}/execute", json=body, key="k"))
    await _until(lambda: _exists(lease, "on"))
    lost.cancel()
    again = asyncio.ensure_future(api("POST", f"{path}/execute", json=body, key="k"))
    put_file(lease.kernel.process.workspace, "go", b"", 1)
    assert (await again)[1]["value"] == "7"


async def test_a_lease_nobody_renews_ends_and_any_call_renews_it(api: Api) -> None:
    kept, lost = await api.kernel(lease_s=100), await api.kernel(lease_s=100)
    process = api.service.leases.every()[1].kernel.process
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
    lease = api.service.leases.every()[0]
    running = asyncio.ensure_future(api.run(path, "import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)"))
    await _until(lease.turn.locked)
    api.clock.now += 1000
    await api.service.reap()
    put_file(lease.kernel.process.workspace, "go", b"", 1)
    assert (await running)["status"] == "ok"


async def test_tenants_do_not_see_each_other(api: Api) -> None:
    path = await api.kernel()
    for method, rest in (("GET", ""), ("DELETE", ""), ("POST", "/interrupt"), ("GET", "/files/a")):
        assert (await api(method, path + rest, BOB))[0] == 404
    assert (await api("GET", "/v1/kernels", BOB))[1] == []
    assert (await api("GET", "/metrics", BOB))[0] == 403


async def test_a_tenant_with_checkpoints_loses_a_cell_and_not_its_state(api: Api) -> None:
    path = await api.kernel(BOB)
    for code in ("x = 5", "x = 6; import os; os._exit(1)"):
        status, result = await api("POST", f"{path}/execute", BOB, json={"code": code})
    assert (status, result["status"], result["rolled_back"], result["state_survived"]) == (200, "died", True, True)
    assert (await api("POST", f"{path}/execute", BOB, json={"code": "x"}))[1]["value"] == "5"


async def test_limits_are_per_tenant_and_said_in_a_sentence(api: Api) -> None:
    paths = [await api.kernel() for _ in range(4)]
    status, refused = await api("POST", "/v1/kernels", json={})
    assert status == 429 and refused["error"]["message"] == "you have 4 kernels and may have 4; delete one"
    assert (await api("POST", f"{paths[0]}/fork", json={}))[0] == 429
    await api.kernel(BOB)
    running = [asyncio.ensure_future(api.run(path, "import time; time.sleep(0.5)")) for path in paths[:2]]
    await _until(lambda: api.service.running["alice"] == 2)
    assert (await api("POST", f"{paths[2]}/execute", json={"code": "1"}))[1]["error"]["kind"] == "too_many_cells"
    await asyncio.gather(*running)
    assert (await api.run(paths[2], "1"))["value"] == "1"
    status, refused = await api("POST", f"{paths[0]}/execute", json={"code": "1", "timeout_s": 61})
    assert status == 422 and "timeout_s=61: the most you may ask for is 60" in refused["error"]["message"]
    assert (await api("POST", "/v1/kernels", BOB, json={"lease_s": 1e9}))[0] == 422


@pytest.mark.parametrize(
    ("token", "header"), [(None, None), ("wrong-token-of-some-length", None), (None, "Basic YWxpY2U6eA==")]
)
async def test_without_a_known_token_nothing_is_done(api: Api, token: str | None, header: str | None) -> None:
    given = {"headers": {"Authorization": header}} if header else {}
    async with api.session.get(f"{api.url}/v1/kernels", **given) as answer:
        assert answer.status == 401 or token
    status, body = await api("GET", "/v1/kernels", token)
    assert status == 401 and set(body) == {"error"} and body["error"]["kind"] == "unauthorized"
    assert (await api("GET", "/health", None))[1] == {"status": "ok"}


async def test_bad_requests_have_one_form(api: Api) -> None:
    path = await api.kernel()
    for body, said in (
        ({"kode": "1"}, "kode"),
        ({"code": "1", "timeout_s": -1}, "timeout_s"),
        ({"code": 7}, "code"),
    ):
        status, refused = await api("POST", f"{path}/execute", json=body)
        assert status == 422 and said in refused["error"]["message"], refused
    status, refused = await api("POST", "/v1/kernels", json={"files": {"a": "no base64!"}})
    assert status == 422 and "base64" in refused["error"]["message"]
    status, refused = await api("POST", "/v1/kernels", json={"files": {"../a": ""}})
    assert status == 422 and "../a" in refused["error"]["message"]
    for body in (b"{", b"[" * 100_000, b"\xff", b'{"code": "\\ud800"}', b'{"code": "1", "timeout_s": NaN}'):
        status, refused = await api("POST", f"{path}/execute", data=body)
        assert status in (400, 422) and refused["error"]["kind"] == "bad_request", (body[:10], refused)
    async with api.session.post(
        f"{api.url}/v1/kernels",
        data=b'{"files": ',
        headers={"Authorization": f"Bearer {ALICE}", "Content-Type": "application/json"},
    ) as answer:
        said = (await answer.json())["error"]["message"]
        assert answer.status == 422 and said.startswith("the body is no JSON: ") and "at character 10" in said
    assert (await api("GET", "/nowhere"))[1]["error"]["kind"] == "not_found"
    status, refused = await api("POST", "/v1/kernels", data=bytes(40 << 20))
    assert status == 413 and refused["error"]["kind"] == "too_large"


async def test_tools_that_cannot_be_functions_are_the_clients_affair(api: Api) -> None:
    def tool(*kinds: str, name: str = "f", parameter: str = "p{}") -> dict[str, Any]:
        parameters = [{"name": parameter.format(i), "kind": kind, "annotation": None} for i, kind in enumerate(kinds)]
        return {"name": name, "parameters": parameters}

    for tools, said in (
        ([tool("VAR_POSITIONAL", "VAR_POSITIONAL")], "tools: f has a signature no function can have"),
        ([tool("VAR_KEYWORD", "VAR_KEYWORD")], "tools: f has a signature no function can have"),
        ([tool("POSITIONAL_ONLY", parameter="if")], "tools: f has a signature no function can have"),
        ([tool("KEYWORD_ONLY", "POSITIONAL_ONLY")], "tools: f: wrong parameter order"),
        ([tool("KEYWORD_ONLY", parameter="no name")], "tools: f: 'no name' is not a valid parameter name"),
        ([tool(name="__debug__")], "tools: __debug__ has a signature no function can have"),
        ([tool(name="f(): pass\ndef g")], "is not a Python name"),
        ([tool(name="twice"), tool(), tool("KEYWORD_ONLY", name="twice")], "tools: two are named twice"),
    ):
        status, refused = await api("POST", "/v1/kernels", json={"tools": tools})
        assert (status, refused["error"]["kind"]) == (422, "bad_request"), refused
        assert said in refused["error"]["message"]
    shown = [
        {"name": "a", "kind": "VAR_POSITIONAL", "annotation": "Unheard['of"},
        {"name": "b", "kind": "KEYWORD_ONLY"},
    ]
    path = await api.kernel(tools=[{"name": "f", "returns": "Of", "parameters": shown}])
    help_ = await api.run(path, "help(f)")
    assert "f(*a: Unheard['of, b) -> Of" in help_["stdout"]


async def test_the_openapi_document_names_every_route_and_the_token(api: Api) -> None:
    status, document = await api("GET", "/openapi.json", None)
    assert status == 200
    assert {"/v1/kernels", "/v1/kernels/{kernel_id}/execute", "/execute", "/metrics"} <= set(document["paths"])
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    answers = document["paths"]["/v1/kernels/{kernel_id}/execute"]["post"]["responses"]
    assert answers["404"]["content"]["application/json"]["schema"]["$ref"].endswith("ErrorAnswer")


async def test_metrics_count_kernels_cells_and_refusals(api: Api) -> None:
    path = await api.kernel()
    before = await _figure(api, 'cells_total{status="error",tenant="alice"}')
    await api.run(path, "1 / 0")
    await api("GET", "/v1/kernels/none")
    assert await _figure(api, 'cells_total{status="error",tenant="alice"}') == before + 1
    assert await _figure(api, 'kernels{tenant="alice"}') == 1
    assert await _figure(api, 'refused_total{kind="not_found",tenant="alice"}') >= 1
    assert await _figure(api, 'cells_running{tenant="alice"}') == 0
    assert await _figure(api, "pool_waiting") == 0 and await _figure(api, "pool_lost") == 0


async def test_old_clients_get_text_and_one_kernel_a_conversation(api: Api) -> None:
    async def execute(code: str, convid: str = "c1") -> tuple[str, bool]:
        status, answer = await api("POST", "/execute", None, json={"convid": convid, "code": code})
        assert status == 200, answer
        return answer["result"], answer["new_kernel_created"]

    first = await asyncio.gather(execute("x = 1; print('a')"), execute("print('b')"))
    assert sorted(text for text, _ in first) == ["a\n", "b\n"] and [new for _, new in first].count(True) == 1
    assert await execute("y = 2") == ("[Code executed successfully with no output]", False)
    assert await execute("print('s')\n'v'") == ("s\n'v'\n", False)
    text, _ = await execute("1 / 0")
    assert text.endswith("ZeroDivisionError: division by zero") and "Traceback" in text
    text, _ = await execute("from IPython.display import Image; Image(b'\\x89PNG\\r\\n\\x1a\\n' + bytes(9))")
    assert re.search(r"!\[image\]\(data:image/png;base64,[A-Za-z0-9+/=]+\)", text)
    assert await execute("x", "c2") != await execute("x")
    text, new = await execute("import os; print('last', flush=True); os._exit(1)")
    assert text.startswith("last\n[The kernel died") and not new
    assert (await execute("'x' in globals()")) == ("False\n", True)


async def test_old_clients_hear_whether_a_dead_kernels_variables_are_gone_or_as_before(api: Api) -> None:
    async def execute(code: str) -> dict[str, Any]:
        return (await api("POST", "/execute", BOB, json={"convid": "c", "code": code}))[1]

    await execute("x = 1")
    answer = await execute("x = 2; import os; os._exit(1)")
    assert answer["result"] == "[The kernel died; its variables are as before this cell.]"
    assert await execute("x") == {"result": "1\n", "new_kernel_created": False}


async def test_old_clients_keep_what_was_printed_before_the_time_was_over(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandbox.service.legacy.TIMEOUT_S", 0.2)
    status, answer = await api("POST", "/execute", None, json={"convid": "t", "code": "print('so far')\nwhile True: 1"})
    assert (status, answer["result"]) == (200, "so far\n[Execution timed out (0.2 seconds).]")


async def test_a_request_the_end_of_the_service_breaks_off_is_refused_in_the_one_form(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sandbox.service.server.DRAIN_S", 0.2)
    async with served(SandboxService(Tenants([Tenant(name="a", token=ALICE)]), small_pool)) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rsplit(":", 1)[1]))
        head = f"POST /v1/kernels HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {ALICE}\r\nContent-Length: 2\r\n"
        writer.write(f"{head}Expect: 100-continue\r\n\r\n".encode())
        assert b"100 Continue" in await reader.readuntil(b"\r\n\r\n")  # it waits for the body, which never comes
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 503")
    assert json.loads(answer.split(b"\r\n\r\n")[1])["error"]["kind"] == "sandbox"
    writer.close()


async def _figure(api: Api, name: str) -> float:
    status, text = await api("GET", "/metrics")
    assert status == 200
    found = re.search(rf"^codeact_sandbox_{re.escape(name)} (\S+)$", text.decode(), re.MULTILINE)
    return float(found[1]) if found else 0.0


async def _until(true: Any, within_s: float = 20.0) -> None:
    deadline = asyncio.get_running_loop().time() + within_s
    while not true():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.01)


def _exists(lease: Any, name: str) -> bool:
    process = lease.kernel.process
    try:
        return process is not None and get_file(process.workspace, name, 10) is not None
    except OSError:
        return False
