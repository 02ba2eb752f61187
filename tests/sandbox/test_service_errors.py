"""What the HTTP service refuses, and how: tenants, limits, tokens, malformed requests; its document and metrics."""

import asyncio
import json
import re
from typing import Any

import pytest

from sandbox.service import SandboxService, Tenant, Tenants
from tests.helpers.kernel_service import ALICE, BOB, Api, served, small_pool, until

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_tenants_do_not_see_each_other(api: Api) -> None:
    path = await api.kernel()
    for method, rest in (("GET", ""), ("DELETE", ""), ("POST", "/interrupt"), ("GET", "/files/a")):
        assert (await api(method, path + rest, BOB))[0] == 404
    assert (await api("GET", "/v1/kernels", BOB))[1] == []
    assert (await api("GET", "/metrics", BOB))[0] == 403


async def test_limits_are_per_tenant_and_said_in_a_sentence(api: Api) -> None:
    paths = [await api.kernel() for _ in range(4)]
    status, refused = await api("POST", "/v1/kernels", json={})
    assert status == 429 and refused["error"]["message"] == "you have 4 kernels and may have 4; delete one"
    assert (await api("POST", f"{paths[0]}/fork", json={}))[0] == 429
    await api.kernel(BOB)
    running = [asyncio.ensure_future(api.run(path, "import time; time.sleep(0.5)")) for path in paths[:2]]
    await until(lambda: api.service.running["alice"] == 2)
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
    headers = {"Authorization": header} if header else {}
    assert (await api.client.get("/v1/kernels", headers=headers)).status_code == 401 or token
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
    for content in (b"{", b"[" * 100_000, b"\xff", b'{"code": "\\ud800"}', b'{"code": "1", "timeout_s": NaN}'):
        status, refused = await api("POST", f"{path}/execute", content=content)
        assert status in (400, 422) and refused["error"]["kind"] == "bad_request", (content[:10], refused)
    headers = {"Authorization": f"Bearer {ALICE}", "Content-Type": "application/json"}
    answer = await api.client.post("/v1/kernels", content=b'{"files": ', headers=headers)
    said = answer.json()["error"]["message"]
    assert answer.status_code == 422 and said.startswith("the body is no JSON: ") and "at character 10" in said
    assert (await api("GET", "/nowhere"))[1]["error"]["kind"] == "not_found"
    status, refused = await api("POST", "/v1/kernels", content=bytes(40 << 20))
    assert status == 413 and refused["error"]["kind"] == "too_large"


async def test_tools_that_cannot_be_functions_are_the_clients_affair(api: Api) -> None:
    def tool(*kinds: str, name: str = "f", parameter: str = "p{}") -> dict[str, Any]:
        parameters = [{"name": parameter.format(i), "kind": kind, "annotation": None} for i, kind in enumerate(kinds)]
        return {"name": name, "parameters": parameters}

    for tools, said in (
        ([tool("VAR_POSITIONAL", "VAR_POSITIONAL")], "tools: f has an invalid signature"),
        ([tool("VAR_KEYWORD", "VAR_KEYWORD")], "tools: f has an invalid signature"),
        ([tool("POSITIONAL_ONLY", parameter="if")], "tools: f has an invalid signature"),
        ([tool("KEYWORD_ONLY", "POSITIONAL_ONLY")], "tools: f: wrong parameter order"),
        ([tool("KEYWORD_ONLY", parameter="no name")], "tools: f: 'no name' is not a valid parameter name"),
        ([tool(name="__debug__")], "tools: __debug__ has an invalid signature"),
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
    assert answers["404"]["content"]["application/json"]["schema"]["$ref"].endswith("ErrorResponse")


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
