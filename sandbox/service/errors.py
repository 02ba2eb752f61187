"""Errors of the HTTP API and the one JSON format they share."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

ErrorKind = Literal[
    "unauthorized",
    "forbidden",
    "bad_request",
    "not_found",
    "no_file",
    "conflict",
    "too_large",
    "too_many_kernels",
    "too_many_cells",
    "sandbox",
    "internal",
]
STATUS: dict[ErrorKind, int] = {
    "unauthorized": 401,
    "forbidden": 403,
    "bad_request": 422,
    "not_found": 404,
    "no_file": 404,
    "conflict": 409,
    "too_large": 413,
    "too_many_kernels": 429,
    "too_many_cells": 429,
    "sandbox": 503,
    "internal": 500,
}


class ApiError(Exception):
    """An error response: a kind for programs and a sentence for people."""

    def __init__(self, kind: ErrorKind, message: str) -> None:
        super().__init__(message)
        self.kind: ErrorKind = kind

    @property
    def status(self) -> int:
        """The HTTP status."""
        return STATUS[self.kind]

    def body(self) -> dict[str, dict[str, str]]:
        """``{"error": {"kind", "message"}}``."""
        return {"error": {"kind": self.kind, "message": str(self)}}


class ErrorDetail(BaseModel):
    """Kind and message of an error."""

    model_config = ConfigDict(frozen=True)

    kind: ErrorKind
    message: str


class ErrorResponse(BaseModel):
    """The body of every response with a status of 400 or more."""

    model_config = ConfigDict(frozen=True)

    error: ErrorDetail
