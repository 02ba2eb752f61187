"""Sentences about requests that cannot be answered: a wrong field, a missing header, an unknown path or method."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.routing import Match

from sandbox.validation import format_details

JSON = "application/json"


def explain_request(request: Request, errors: Sequence[Mapping[str, Any]]) -> str:
    """What is wrong with a request whose body, query or headers do not fit; ``errors`` as pydantic lists them."""
    first = errors[0]
    if first["type"] == "json_invalid":
        return f"the body is no JSON: {first['ctx']['error']} at character {first['loc'][-1]}"
    if tuple(first["loc"]) == ("body",):
        return _explain_body(request, first)
    lines = [format_details(_part(error), [{**error, "loc": error["loc"][1:]}], _model(request)) for error in errors]
    return "; ".join(line for part in lines for line in part)


def explain_path(request: Request) -> str:
    """The known paths that are like the one of the request."""
    paths = list(dict.fromkeys(route.path for route in _routes(request)))
    close = difflib.get_close_matches(request.url.path, paths, n=2, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else "/openapi.json lists all"


def methods_of(request: Request) -> list[str]:
    """The methods of the request's path."""
    found = [route for route in _routes(request) if route.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for route in found for method in route.methods or ()})


def _explain_body(request: Request, error: Mapping[str, Any]) -> str:
    needed = [name for name, field in _fields(request).items() if field.is_required()]
    form = f"a JSON object with {' and '.join(needed)}" if needed else "a JSON object"
    if error["type"] == "missing":
        return f"the body is missing; send {form} and the header Content-Type: {JSON}"
    given = request.headers.get("Content-Type")
    if given is None:
        return f"the header Content-Type is missing; send Content-Type: {JSON}"
    if JSON not in given:
        return f"Content-Type is {given!r}; send {form} and the header Content-Type: {JSON}"
    return f"the body must be {form}"


def _part(error: Mapping[str, Any]) -> str:
    """Which part of the request an error is about, where it is not the body."""
    return "" if error["loc"][0] == "body" else f"{error['loc'][0]} "


def _model(request: Request) -> Any:
    """The schema of the body of the request's route."""
    route = request.scope.get("route")
    field = getattr(route, "body_field", None)
    return getattr(getattr(field, "field_info", None), "annotation", None)


def _fields(request: Request) -> Mapping[str, Any]:
    return getattr(_model(request), "model_fields", {})


def _routes(request: Request) -> list[APIRoute]:
    return [route for route in request.app.state.routes if isinstance(route, APIRoute)]
