"""Remote kernels and pools have the interface of local ones, and the service says what is wrong with a request."""

import inspect
import re
from typing import Any

import pytest

from sandbox import Kernel, KernelPool, RemoteKernel, RemotePool, SessionLog, restore
from sandbox.host.process_source import ProcessSource
from tests.helpers.kernel_service import ALICE, Api

pytestmark = pytest.mark.asyncio(loop_scope="module")
OF_KERNELS = set(vars(ProcessSource)) - {"tier"}
"""What a local pool gives to its kernels, not to its callers."""


def interface(kind: type) -> dict[str, str]:
    """Signatures of public methods and types of properties; a remote class stands for its local one."""
    found = {}
    for name, member in vars(kind).items():
        special = name.startswith("_") and name not in ("__aenter__", "__aexit__")
        if special or name in OF_KERNELS:
            continue
        if isinstance(member, property):
            found[name] = f"property {inspect.signature(member.fget)}"  # type: ignore[arg-type]
        elif callable(member):
            kind_of_call = "async " if inspect.iscoroutinefunction(member) else ""
            found[name] = f"{kind_of_call}{inspect.signature(member)}".replace("Remote", "").replace(
                "KernelPool", "Pool"
            )
    return found


@pytest.mark.parametrize(("local", "remote"), [(Kernel, RemoteKernel), (KernelPool, RemotePool)])
async def test_a_remote_class_has_the_interface_of_its_local_one(local: type, remote: type) -> None:
    assert interface(remote) == interface(local)
    assert len(interface(local)) > 6


async def test_both_do_the_same_and_answer_with_the_same_types(api: Api, pool: KernelPool) -> None:
    url = str(api.client.base_url).rstrip("/")
    async with RemotePool(url, ALICE) as remote:
        seen = [await _use(each) for each in (pool, remote)]
    assert seen[0] == seen[1]


async def _use(pool: Any) -> list[Any]:
    seen: list[Any] = []
    async with await pool.acquire(files={"a": b"first"}, seed=7, record=True) as kernel:
        seen += [type(pool.stats()), pool.waiting, kernel.tier == pool.tier, kernel.busy]
        result = await kernel.run("import random; random.random()", timeout_s=5)
        seen += [type(result), result.value, await kernel.get("a", 5), await kernel.put("b", b"second")]
        with pytest.raises(ValueError):
            await kernel.get("a", 4)
        seen += [await kernel.seed(8), (await kernel.run("random.random()")).value, await kernel.interrupt()]
        fork = await kernel.fork(reseed=True)
        seen += [(await fork.run("open('b').read()")).value, fork.recorder is not None, await fork.close()]
        log = kernel.recorder.log.dumps()
        restored = await restore(pool, SessionLog.loads(log))
        async with restored.kernel as again:
            seen += [restored.differences, (await again.run("random.random()")).value]
        seen += [(await kernel.run("random.random()")).value, await kernel.restart()]
        seen += [
            (await kernel.run("import os; print('last'); os._exit(1)")).model_dump(
                exclude={"seconds", "received_bytes"}
            )
        ]
        seen += [(await kernel.run("import random; random.random()")).value, await kernel.close()]
    return seen


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("headers", "content", "said"),
    [
        ({}, b'{"code": "1"}', "the header Content-Type is missing; send Content-Type: application/json"),
        (
            {"Content-Type": "application/x-www-form-urlencoded"},
            b'{"code": "1"}',
            "Content-Type is 'application/x-www-form-urlencoded'; send a JSON object with code and the header "
            "Content-Type: application/json",
        ),
        (JSON, b"", "the body is missing; send a JSON object with code and the header Content-Type: application/json"),
        (JSON, b"[1]", "the body must be a JSON object with code"),
        (JSON, b'{"kode": "1"}', "code: Field required; kode: unknown key; did you mean 'code'?"),
        (JSON, b'{"code": 7}', "code: Input should be a valid string (given: 7)"),
        (JSON, b'{"code": "1", "timeout_s": 0}', "timeout_s: Input should be greater than 0 (given: 0)"),
        (JSON, b'{"code": ', "the body is no JSON: Expecting value at character 9"),
    ],
)
async def test_a_wrong_body_is_explained_in_a_sentence(
    api: Api, headers: dict[str, str], content: bytes, said: str
) -> None:
    path = await api.kernel()
    headers = {"Authorization": f"Bearer {ALICE}", **headers}
    answer = await api.client.post(f"{path}/execute", content=content, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (422, {"kind": "bad_request", "message": said})


async def test_inner_fields_queries_and_headers_are_named(api: Api) -> None:
    path = await api.kernel()
    parameter = {"name": "x", "kind": "POSITIONAL"}
    status, refused = await api("POST", "/v1/kernels", json={"tools": [{"name": "f", "parameters": [parameter]}]})
    assert status == 422 and refused["error"]["message"].startswith("tools.0.parameters.0.kind: Input should be 'POS")
    status, refused = await api("GET", f"{path}/files/a?limit_bytes=-1")
    assert status == 422 and refused["error"]["message"].startswith("query limit_bytes: Input should be greater")
    status, refused = await api("POST", "/v1/kernels", key="k" * 300, json={})
    assert status == 422 and refused["error"]["message"].startswith(
        "header Idempotency-Key: String should have at most"
    )
    status, refused = await api("POST", f"{path}/seed", json={"seed": 2**32})
    assert status == 422 and refused["error"]["message"].startswith("seed: Input should be less than 4294967296")


async def test_a_body_whose_fields_all_have_defaults_may_be_absent(api: Api) -> None:
    status, made = await api("POST", "/v1/kernels")
    assert status == 201
    path = f"/v1/kernels/{made['id']}"
    assert (await api("POST", f"{path}/fork"))[0] == 201
    assert (await api("POST", f"{path}/calls/none"))[1]["error"]["kind"] == "not_found"


@pytest.mark.parametrize(
    ("method", "path", "status", "said"),
    [
        ("GET", "/v1/kernel", 404, "there is no such path; did you mean /v1/kernels"),
        ("GET", "/nowhere/at/all", 404, "there is no such path; /openapi.json lists all"),
        ("PUT", "/v1/kernels", 405, "this path takes GET, POST"),
        ("GET", "/v1/kernels/1/execute", 405, "this path takes POST"),
        ("POST", "/v1/kernels/1/files/a", 405, "this path takes GET, PUT"),
    ],
)
async def test_a_wrong_path_or_method_is_explained(api: Api, method: str, path: str, status: int, said: str) -> None:
    answered, refused = await api(method, path)
    assert answered == status and f"{method} {path}: {said}" in refused["error"]["message"], refused
    assert re.fullmatch(r"[a-z_]+", refused["error"]["kind"])
