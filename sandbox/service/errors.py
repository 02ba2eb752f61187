"""What a request can be refused with, and the one form every refusal has."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Kind = Literal[
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
STATUS: dict[Kind, int] = {
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


class Refused(Exception):
    """Why a request is not done: a kind for programs and a sentence for people."""

    def __init__(self, kind: Kind, message: str) -> None:
        super().__init__(message)
        self.kind: Kind = kind

    @property
    def status(self) -> int:
        """The HTTP status."""
        return STATUS[self.kind]

    def body(self) -> dict[str, dict[str, str]]:
        """``{"error": {"kind", "message"}}``."""
        return {"error": {"kind": self.kind, "message": str(self)}}


class Fault(BaseModel):
    """What went wrong."""

    model_config = ConfigDict(frozen=True)

    kind: Kind
    message: str


class ErrorAnswer(BaseModel):
    """The body of every answer with a status of 400 or more."""

    model_config = ConfigDict(frozen=True)

    error: Fault
