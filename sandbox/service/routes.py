"""HTTP routes of the service: one function a route, which only translates between HTTP and the service.

Contract: bodies are those of :mod:`sandbox.service.schemas`, files are raw bytes. Every call that names a kernel renews
its lease. ``Idempotency-Key`` is the request id: a repeated POST with the same key and body gets the first one's
answer. A client that disconnects while it waits for a cell stops listening to it (:mod:`sandbox.service.execution`).
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
from collections.abc import AsyncIterator, Coroutine
from contextlib import aclosing
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.security import HTTPBearer

from sandbox.result import CellResult, SandboxError
from sandbox.service import legacy
from sandbox.service.errors import STATUS, ApiError, ErrorResponse
from sandbox.service.execution import Execution
from sandbox.service.leases import Lease
from sandbox.service.schemas import (
    CreateKernelRequest,
    ExecuteRequest,
    ForkRequest,
    InterruptResponse,
    KernelResponse,
    LegacyRequest,
    LegacyResponse,
    OfferResponse,
    SeedRequest,
    ToolResultRequest,
)
from sandbox.service.service import SandboxService
from sandbox.service.tenants import Tenant
from sandbox.service.tool_calls import remote_tools

T = TypeVar("T")
CLIENT_CLOSED_REQUEST = 499
NDJSON = "application/x-ndjson"
ERROR_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorResponse} for status in sorted(set(STATUS.values()))
}
MISSING = (errno.ENOENT, errno.ENOTDIR)

router = APIRouter(responses=ERROR_RESPONSES, dependencies=[Depends(HTTPBearer(auto_error=False, scheme_name="token"))])


def _service(request: Request) -> SandboxService:
    return request.app.state.service


def _current_tenant(request: Request) -> Tenant:
    return request.state.tenant


def _current_lease(kernel_id: str, request: Request) -> Lease:
    return _service(request).leases.find(_current_tenant(request), kernel_id)


async def _body_digest(request: Request) -> str:
    return hashlib.sha256(await request.body()).hexdigest()


Service = Annotated[SandboxService, Depends(_service)]
CurrentTenant = Annotated[Tenant, Depends(_current_tenant)]
CurrentLease = Annotated[Lease, Depends(_current_lease)]
Digest = Annotated[str, Depends(_body_digest)]
RequestId = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=200)]


@router.get("/v1/offer")
async def offer(service: Service, tenant: CurrentTenant) -> OfferResponse:
    """The isolation and limits of your kernels, and how many you may have."""
    return OfferResponse.from_tenant(tenant, service.tier(tenant))


@router.post("/v1/kernels", status_code=201)
async def create_kernel(
    service: Service,
    tenant: CurrentTenant,
    digest: Digest,
    form: CreateKernelRequest = CreateKernelRequest(),  # noqa: B008  a frozen value
    request_id: RequestId = None,
) -> KernelResponse:
    """Create a kernel with these files and tools."""
    tools = _valid(remote_tools, form.tools)
    lease = await service.create(tenant, tools, form.contents(), form.lease_s, request_id, digest, form.seed)
    return KernelResponse.from_lease(lease)


@router.get("/v1/kernels")
async def list_kernels(service: Service, tenant: CurrentTenant) -> list[KernelResponse]:
    """List your kernels; renews no lease."""
    return [KernelResponse.from_lease(lease) for lease in service.leases.owned_by(tenant)]


@router.get("/v1/kernels/{kernel_id}")
async def get_kernel(lease: CurrentLease) -> KernelResponse:
    """Describe a kernel and renew its lease."""
    with lease.call():
        pass
    return KernelResponse.from_lease(lease)


@router.delete("/v1/kernels/{kernel_id}", status_code=204)
async def delete_kernel(lease: CurrentLease, service: Service) -> None:
    """End a kernel, also while a cell runs."""
    await service.delete(lease)


@router.post(
    "/v1/kernels/{kernel_id}/execute",
    response_model=CellResult,
    responses={200: {"content": {NDJSON: {}}, "description": "The result, or with `stream` one event a line."}},
)
async def execute(
    form: ExecuteRequest,
    request: Request,
    lease: CurrentLease,
    service: Service,
    digest: Digest,
    request_id: RequestId = None,
) -> Any:
    """Run a cell to its end. What the code does is in the result, never in the status."""
    execution = service.execute(lease, form.code, form.timeout_s, request_id, digest)
    if form.stream:
        return StreamingResponse(_event_lines(execution), media_type=NDJSON)
    return await _while_connected(request, execution.result())


@router.post("/v1/kernels/{kernel_id}/interrupt")
async def interrupt(lease: CurrentLease) -> InterruptResponse:
    """Interrupt the running cell as its time limit would: the state is kept, unless the cell does not stop."""
    with lease.call():
        return InterruptResponse(interrupted=await lease.kernel.interrupt())


@router.post("/v1/kernels/{kernel_id}/restart", status_code=204)
async def restart(lease: CurrentLease) -> None:
    """Start a fresh process with the first files and the tools, when the earlier cells have ended."""
    with lease.call():
        await lease.kernel.restart()


@router.post("/v1/kernels/{kernel_id}/fork", status_code=201)
async def fork(
    lease: CurrentLease,
    service: Service,
    digest: Digest,
    form: ForkRequest = ForkRequest(),  # noqa: B008  a frozen value
    request_id: RequestId = None,
) -> KernelResponse:
    """Create a second kernel with this one's state and files."""
    return KernelResponse.from_lease(await service.fork(lease, form.reseed, request_id, digest))


@router.post("/v1/kernels/{kernel_id}/seed", status_code=204)
async def seed(form: SeedRequest, lease: CurrentLease) -> None:
    """Seed the random generators, when the earlier cells have ended."""
    with lease.call():
        await lease.kernel.seed(form.seed)


@router.post("/v1/kernels/{kernel_id}/calls/{call}", status_code=204)
async def answer_tool_call(
    call: str,
    lease: CurrentLease,
    form: ToolResultRequest = ToolResultRequest(),  # noqa: B008  a frozen value
) -> None:
    """Return the client's tool result for an event `tool_call`."""
    error = (form.error.type, form.error.message) if form.error else None
    with lease.call():
        lease.channel.answer(call, form.result, error)


@router.put("/v1/kernels/{kernel_id}/files/{path:path}", status_code=204, openapi_extra={
    "requestBody": {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
})  # fmt: skip
async def put_file(path: str, request: Request, lease: CurrentLease) -> None:
    """Write a file of the workspace, creating the folders above it; waits for a running cell."""
    data = await request.body()
    if len(data) > lease.tenant.max_file_mib << 20:
        raise ApiError("too_large", f"a file may have {lease.tenant.max_file_mib} MiB; this one has {len(data)} bytes")
    with lease.call():
        try:
            await lease.kernel.put(path, data)
        except (OSError, ValueError) as error:
            raise _file_error(path, error) from None


@router.get("/v1/kernels/{kernel_id}/files/{path:path}", response_class=Response, responses={
    200: {"content": {"application/octet-stream": {}}, "description": "The bytes."}
})  # fmt: skip
async def get_file(path: str, lease: CurrentLease, limit_bytes: Annotated[int | None, Query(ge=0)] = None) -> Response:
    """Read a regular file of the workspace, never through a link; waits for a running cell.

    `limit_bytes`: refuse a larger file; by default and at most your `max_file_mib`.
    """
    most = lease.tenant.max_file_mib << 20
    with lease.call():
        try:
            data = await lease.kernel.get(path, most if limit_bytes is None else min(limit_bytes, most))
        except (OSError, ValueError) as error:
            raise _file_error(path, error) from None
    return Response(data, media_type="application/octet-stream")


@router.post("/execute")
async def execute_in_conversation(
    form: LegacyRequest, request: Request, service: Service, tenant: CurrentTenant
) -> LegacyResponse:
    """Run a cell for clients of the first CodeAct service."""
    conversations: legacy.Conversations = request.app.state.conversations
    lease, fresh = await conversations.open(tenant, form.convid)
    limit_s = legacy.timeout_s(tenant)
    execution = service.execute(lease, form.code, limit_s)
    text, result = await _while_connected(request, legacy.collect_text(execution, limit_s))
    if not result.state_survived:
        conversations.mark_fresh(tenant, form.convid)
    return LegacyResponse(result=text, new_kernel_created=fresh)


@router.get("/metrics", response_class=Response)
async def metrics(service: Service, tenant: CurrentTenant) -> Response:
    """Metrics of all tenants in Prometheus' text format, for operators."""
    if not tenant.operator:
        raise ApiError("forbidden", "only a tenant with operator: true may read the figures of all")
    return Response(service.metrics.render(), media_type="text/plain; version=0.0.4")


async def _event_lines(execution: Execution) -> AsyncIterator[bytes]:
    """One event a line. A fault of the sandbox is the last line, because the status has been sent already."""
    async with aclosing(execution.events()) as events:
        try:
            async for event in events:
                yield json.dumps(event).encode() + b"\n"
        except SandboxError as error:
            yield json.dumps({"event": "error", **ApiError("sandbox", str(error)).body()}).encode() + b"\n"


class ClientDisconnected(Exception):
    """The client has closed the connection."""


async def _while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``, which is cancelled when the client goes away."""
    task, client_disconnected = asyncio.ensure_future(work), asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({task, client_disconnected}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnected
        return task.result()
    finally:
        client_disconnected.cancel()
        task.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _valid(make: Any, given: Any) -> Any:
    try:
        return make(given)
    except ValueError as error:
        raise ApiError("bad_request", str(error)) from None


def _file_error(path: str, error: OSError | ValueError) -> ApiError:
    if isinstance(error, OSError) and error.errno in MISSING:
        return ApiError("no_file", f"there is no file {path!r} in the workspace")
    if isinstance(error, OSError):
        return ApiError("bad_request", f"{path!r}: {error.strerror}")
    return ApiError("too_large" if "larger" in str(error) else "bad_request", str(error))


def client_disconnected(request: Request, error: Exception) -> Response:
    """The response to :class:`ClientDisconnected`; it is never read."""
    return JSONResponse({}, status_code=CLIENT_CLOSED_REQUEST)
