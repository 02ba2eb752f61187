"""The FastAPI application: routes behind the auth middleware, one error format for every failure."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from sandbox.guest import __version__
from sandbox.result import SandboxError
from sandbox.service import routes
from sandbox.service.auth import AuthMiddleware
from sandbox.service.errors import ApiError, ErrorKind
from sandbox.service.explain import explain_path, explain_request, methods_of
from sandbox.service.legacy import Conversations
from sandbox.service.service import SandboxService


def make_app(service: SandboxService) -> FastAPI:
    """An ASGI application. The caller starts and closes ``service``."""
    app = FastAPI(
        title="Sandboxed kernels",
        version=__version__,
        description="Stateful Python kernels for untrusted code.",
        docs_url=None,  # those pages load scripts from other servers
        redoc_url=None,
    )
    app.state.service = service
    app.state.routes = routes.router.routes
    app.state.conversations = Conversations(service)
    app.include_router(routes.router)
    app.add_api_route("/health", _health, methods=["GET"], summary="Whether the service is up.")
    app.add_middleware(AuthMiddleware, tenants=service.tenants, metrics=service.metrics)
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(SandboxError, _sandbox_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _routing_error)
    app.add_exception_handler(routes.ClientDisconnected, routes.client_disconnected)
    app.add_exception_handler(Exception, _internal_error)
    return app


async def _health() -> dict[str, str]:
    return {"status": "ok"}


def _error_response(request: Request, error: ApiError) -> JSONResponse:
    tenant = getattr(request.state, "tenant", None)
    request.app.state.service.metrics.refused.labels(tenant.name if tenant else "", error.kind).inc()
    return JSONResponse(error.body(), status_code=error.status)


def _api_error(request: Request, error: Any) -> JSONResponse:
    return _error_response(request, error)


def _sandbox_error(request: Request, error: Any) -> JSONResponse:
    return _error_response(request, ApiError("sandbox", str(error)))


def _validation_error(request: Request, error: Any) -> JSONResponse:
    return _error_response(request, ApiError("bad_request", explain_request(request, error.errors())))


def _routing_error(request: Request, error: Any) -> JSONResponse:
    kind: ErrorKind = (
        "not_found" if error.status_code == 404 else "bad_request" if error.status_code < 500 else "internal"
    )
    headers, detail = dict(error.headers or {}), error.detail
    if error.status_code == 404:
        detail = f"there is no such path; {explain_path(request)}"
    elif error.status_code == 405:
        headers["Allow"] = ", ".join(methods_of(request))
        detail = f"this path takes {headers['Allow']}"
    body = ApiError(kind, f"{request.method} {request.url.path}: {detail}").body()
    return JSONResponse(body, status_code=error.status_code, headers=headers)


def _internal_error(request: Request, error: Any) -> JSONResponse:
    return _error_response(request, ApiError("internal", f"a fault of the service: {type(error).__name__}"))
