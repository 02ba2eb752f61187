"""The section ``engines``: model servers that run already, by name.

Contract: settings and their checks; imports no client. A key is named, never written: ``api_key_env`` and
``headers_env`` hold names of environment variables, and an address or a plain header with a key in it is refused.
"""

from __future__ import annotations

import os
import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

SECRET_FIELDS = ("api_key_env", "headers", "headers_env", "base_urls")
"""Values that messages do not show: people put keys there."""
_SECRET_HEADER = re.compile(r"authorization|cookie|key|token|secret|password", re.IGNORECASE)
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _address(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or port == 0 or parts.scheme not in ("http", "https") or re.search(r"\s", url):
        raise ValueError("write an address as http://HOST:PORT/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("an address holds no key; name its environment variable in api_key_env or headers_env")
    return url.rstrip("/")


def _variable(name: str) -> str:
    if not _VARIABLE.fullmatch(name):
        raise ValueError("write the name of an environment variable, not the key itself")
    return name


def _header(name: str) -> str:
    if not _HEADER.fullmatch(name):
        raise ValueError("is not the name of a header")
    return name


def _plain_header(name: str) -> str:
    if _SECRET_HEADER.search(name):
        raise ValueError("seems to hold a key; put it into an environment variable and name that in headers_env")
    return _header(name)


def _header_value(value: str) -> str:
    if not value.isascii() or not value.isprintable():
        raise ValueError("a header's value is printable ASCII text")
    return value


Variable = Annotated[str, AfterValidator(_variable)]


class EngineConfig(BaseModel):
    """A model behind one or more OpenAI-compatible servers that run already."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    base_urls: Annotated[tuple[Annotated[str, AfterValidator(_address)], ...], Field(min_length=1)]
    """Addresses of servers of the same model, each ending in `/v1`; an episode stays on one of them."""
    model: str = Field(min_length=1)
    """Name of the model in requests."""
    name: str | None = Field(None, min_length=1)
    """Stored with every trajectory and part of its id, so it identifies the model; null: `model`."""
    api_key_env: Variable | None = None
    """Environment variable that holds the key, sent as `Authorization: Bearer`; null: no key."""
    headers: dict[Annotated[str, AfterValidator(_plain_header)], Annotated[str, AfterValidator(_header_value)]] = {}
    """Further headers of every request, without secrets."""
    headers_env: dict[Annotated[str, AfterValidator(_header)], Variable] = {}
    """Further headers, each with the environment variable that holds its value, such as `{api-key: AZURE_KEY}`."""
    tokenizer: Annotated[str, AfterValidator(os.path.expanduser)] | None = None
    """Folder of the model's tokenizer, for servers that return token ids (vLLM): prompts are then sent as token ids."""
    timeout_s: float = Field(600.0, gt=0)
    """Time limit of one request, including its wait in the server's queue."""
    retries: int = Field(3, ge=0, le=20)
    """Attempts after the first, on one server; `Retry-After` is honoured up to two minutes."""

    @property
    def variables(self) -> list[str]:
        """Environment variables that must be set."""
        return [*([self.api_key_env] if self.api_key_env else []), *self.headers_env.values()]
