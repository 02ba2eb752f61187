"""The application: routes behind the door, every fault in one form."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from sandbox import __version__
from sandbox.result import SandboxError
from sandbox.service import routes
from sandbox.service.auth import Door
from sandbox.service.errors import Kind, Refused
from sandbox.service.legacy import Conversations
from sandbox.service.service import SandboxService


def make_app(service: SandboxService) -> FastAPI:
    """An ASGI application; whoever serves it starts and closes the service."""
    app = FastAPI(
        title="Sandboxed kernels",
        version=__version__,
        description="Stateful Python kernels for code nobody has read.",
        docs_url=None,  # those pages load their scripts from elsewhere
        redoc_url=None,
    )
    app.state.service = service
    app.state.conversations = Conversations(service)
    app.include_router(routes.router)
    app.add_api_route("/health", _health, methods=["GET"], summary="Whether it serves.")
    app.add_middleware(Door, tenants=service.tenants, metrics=service.metrics)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(SandboxError, _sandbox_failed)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(HTTPException, _no_such_route)
    app.add_exception_handler(routes.ClientGone, routes.gone)
    app.add_exception_handler(Exception, _broken)
    return app


async def _health() -> dict[str, str]:
    return {"status": "ok"}


def _told(request: Request, refused: Refused) -> JSONResponse:
    tenant = getattr(request.state, "tenant", None)
    request.app.state.service.metrics.refused.labels(tenant.name if tenant else "", refused.kind).inc()
    return JSONResponse(refused.body(), status_code=refused.status)


def _refused(request: Request, error: Any) -> JSONResponse:
    return _told(request, error)


def _sandbox_failed(request: Request, error: Any) -> JSONResponse:
    return _told(request, Refused("sandbox", str(error)))


def _malformed(request: Request, error: Any) -> JSONResponse:
    return _told(request, Refused("bad_request", "; ".join(map(_sentence, error.errors()))))


def _sentence(fault: Any) -> str:
    if fault["type"] == "json_invalid":
        return f"the body is no JSON: {fault['ctx']['error']} at character {fault['loc'][-1]}"
    return f"{'.'.join(map(str, fault['loc'][1:])) or 'body'}: {fault['msg']}"


def _no_such_route(request: Request, error: Any) -> JSONResponse:
    kind: Kind = "not_found" if error.status_code == 404 else "bad_request" if error.status_code < 500 else "internal"
    body = Refused(kind, f"{request.method} {request.url.path}: {error.detail}").body()
    return JSONResponse(body, status_code=error.status_code, headers=error.headers)


def _broken(request: Request, error: Any) -> JSONResponse:
    return _told(request, Refused("internal", f"a fault of the service: {type(error).__name__}"))
