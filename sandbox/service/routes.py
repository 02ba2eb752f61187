"""The HTTP of the service: one function a route, each a translation and nothing else.

Contract: bodies are those of :mod:`sandbox.service.schemas`, files are raw bytes. Every call that names a kernel renews
its lease. ``Idempotency-Key`` is the request id: a repeated POST with the same key and body has the first one's answer.
A client that goes away while it waits for a cell has let go of it (:mod:`sandbox.service.execution`).
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
from collections.abc import AsyncIterator, Coroutine
from contextlib import aclosing
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.security import HTTPBearer

from sandbox.result import CellResult, SandboxError
from sandbox.service import legacy
from sandbox.service.errors import STATUS, ErrorAnswer, Refused
from sandbox.service.execution import Execution
from sandbox.service.leases import Lease
from sandbox.service.schemas import (
    CreateForm,
    ExecuteForm,
    ForkForm,
    InterruptAnswer,
    KernelAnswer,
    LegacyAnswer,
    LegacyForm,
    OfferAnswer,
    ToolResultForm,
)
from sandbox.service.service import SandboxService
from sandbox.service.tenants import Tenant
from sandbox.service.tool_calls import stand_ins

T = TypeVar("T")
GONE = 499  # nobody is there to read it
NDJSON = "application/x-ndjson"
REFUSALS: dict[int | str, dict[str, Any]] = {status: {"model": ErrorAnswer} for status in sorted(set(STATUS.values()))}
MISSING = (errno.ENOENT, errno.ENOTDIR)

router = APIRouter(responses=REFUSALS, dependencies=[Depends(HTTPBearer(auto_error=False, scheme_name="token"))])


def _service(request: Request) -> SandboxService:
    return request.app.state.service


def _tenant(request: Request) -> Tenant:
    return request.state.tenant


def _lease(kernel_id: str, request: Request) -> Lease:
    return _service(request).leases.find(_tenant(request), kernel_id)


async def _digest(request: Request) -> str:
    return hashlib.sha256(await request.body()).hexdigest()


Service = Annotated[SandboxService, Depends(_service)]
Caller = Annotated[Tenant, Depends(_tenant)]
Lent = Annotated[Lease, Depends(_lease)]
Digest = Annotated[str, Depends(_digest)]
RequestId = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=200)]


@router.get("/v1/offer")
async def offer(service: Service, tenant: Caller) -> OfferAnswer:
    """What your kernels are, and how many you may have."""
    return OfferAnswer.of(tenant, service.tier(tenant))


@router.post("/v1/kernels", status_code=201)
async def create_kernel(
    form: CreateForm, service: Service, tenant: Caller, digest: Digest, request_id: RequestId = None
) -> KernelAnswer:
    """A kernel of your own, with these files and tools."""
    tools = _or_refused(stand_ins, form.tools)
    return KernelAnswer.of(await service.create(tenant, tools, form.contents(), form.lease_s, request_id, digest))


@router.get("/v1/kernels")
async def list_kernels(service: Service, tenant: Caller) -> list[KernelAnswer]:
    """Your kernels; renews nothing."""
    return [KernelAnswer.of(lease) for lease in service.leases.of(tenant)]


@router.get("/v1/kernels/{kernel_id}")
async def keep_kernel(lease: Lent) -> KernelAnswer:
    """A kernel; asking renews its lease."""
    with lease.call():
        pass
    return KernelAnswer.of(lease)


@router.delete("/v1/kernels/{kernel_id}", status_code=204)
async def delete_kernel(lease: Lent, service: Service) -> None:
    """Ends a kernel, whatever it is doing."""
    await service.delete(lease)


@router.post(
    "/v1/kernels/{kernel_id}/execute",
    response_model=CellResult,
    responses={200: {"content": {NDJSON: {}}, "description": "The result, or with `stream` one event a line."}},
)
async def execute(
    form: ExecuteForm,
    request: Request,
    lease: Lent,
    service: Service,
    digest: Digest,
    request_id: RequestId = None,
) -> Any:
    """Runs a cell to its end. What the code does is in the result, never in the status."""
    execution = service.execute(lease, form.code, form.timeout_s, request_id, digest)
    if form.stream:
        return StreamingResponse(_lines(execution), media_type=NDJSON)
    return await _while_connected(request, execution.result())


@router.post("/v1/kernels/{kernel_id}/interrupt")
async def interrupt(lease: Lent) -> InterruptAnswer:
    """Ends the running cell as its time limit would: state kept, unless it does not stop."""
    with lease.call():
        return InterruptAnswer(interrupted=lease.kernel.interrupt())


@router.post("/v1/kernels/{kernel_id}/restart", status_code=204)
async def restart(lease: Lent) -> None:
    """A fresh process with the first files and the tools, when the cells before have ended."""
    with lease.call():
        await lease.kernel.restart()


@router.post("/v1/kernels/{kernel_id}/fork", status_code=201)
async def fork(
    form: ForkForm, lease: Lent, service: Service, digest: Digest, request_id: RequestId = None
) -> KernelAnswer:
    """A second kernel with this one's state and files."""
    return KernelAnswer.of(await service.fork(lease, form.reseed, request_id, digest))


@router.post("/v1/kernels/{kernel_id}/calls/{call}", status_code=204)
async def answer_tool_call(call: str, form: ToolResultForm, lease: Lent) -> None:
    """What the client's tool came to, for an event `tool_call`."""
    error = (form.error.type, form.error.message) if form.error else None
    with lease.call():
        lease.channel.answer(call, form.result, error)


@router.put("/v1/kernels/{kernel_id}/files/{path:path}", status_code=204, openapi_extra={
    "requestBody": {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
})  # fmt: skip
async def put_file(path: str, request: Request, lease: Lent) -> None:
    """Writes a file of the workspace, making the folders above it; waits for a running cell."""
    data = await request.body()
    if len(data) > lease.tenant.max_file_mib << 20:
        raise Refused("too_large", f"a file may have {lease.tenant.max_file_mib} MiB; this one has {len(data)} bytes")
    with lease.call():
        try:
            await lease.kernel.put(path, data)
        except (OSError, ValueError) as error:
            raise _of_file(path, error) from None


@router.get("/v1/kernels/{kernel_id}/files/{path:path}", response_class=Response, responses={
    200: {"content": {"application/octet-stream": {}}, "description": "The bytes."}
})  # fmt: skip
async def get_file(path: str, lease: Lent) -> Response:
    """Reads a regular file of the workspace, never through a link; waits for a running cell."""
    with lease.call():
        try:
            data = await lease.kernel.get(path, lease.tenant.max_file_mib << 20)
        except (OSError, ValueError) as error:
            raise _of_file(path, error) from None
    return Response(data, media_type="application/octet-stream")


@router.post("/execute")
async def execute_in_conversation(form: LegacyForm, request: Request, service: Service, tenant: Caller) -> LegacyAnswer:
    """What clients of the first CodeAct service call."""
    conversations: legacy.Conversations = request.app.state.conversations
    lease, fresh = await conversations.open(tenant, form.convid)
    limit_s = legacy.timeout_s(tenant)
    text, result = await _while_connected(request, legacy.told(service.execute(lease, form.code, limit_s), limit_s))
    if not result.state_survived:
        conversations.lost(tenant, form.convid)
    return LegacyAnswer(result=text, new_kernel_created=fresh)


@router.get("/metrics", response_class=Response)
async def metrics(service: Service, tenant: Caller) -> Response:
    """Figures of all tenants in Prometheus' text format, for operators."""
    if not tenant.operator:
        raise Refused("forbidden", "only a tenant with operator: true may read the figures of all")
    return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")


async def _lines(execution: Execution) -> AsyncIterator[bytes]:
    """One event a line; a fault of the sandbox is the last, as the status is out already."""
    async with aclosing(execution.events()) as events:
        try:
            async for event in events:
                yield json.dumps(event).encode() + b"\n"
        except SandboxError as error:
            yield json.dumps({"event": "error", **Refused("sandbox", str(error)).body()}).encode() + b"\n"


class ClientGone(Exception):
    """Nobody waits for the answer any more."""


async def _while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``, which is cancelled when the client goes away."""
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGone
        return task.result()
    finally:
        gone.cancel()
        task.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _or_refused(make: Any, given: Any) -> Any:
    try:
        return make(given)
    except ValueError as error:
        raise Refused("bad_request", str(error)) from None


def _of_file(path: str, error: OSError | ValueError) -> Refused:
    if isinstance(error, OSError) and error.errno in MISSING:
        return Refused("no_file", f"there is no file {path!r} in the workspace")
    if isinstance(error, OSError):
        return Refused("bad_request", f"{path!r}: {error.strerror}")
    return Refused("too_large" if "larger" in str(error) else "bad_request", str(error))


def gone(request: Request, error: Exception) -> Response:
    """The answer nobody reads."""
    return JSONResponse({}, status_code=GONE)
