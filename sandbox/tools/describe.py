"""Host functions offered to cells, described for a kernel and for a prompt.

Contract: a tool is a named, sync or async callable whose arguments and result are JSON. The kernel gets a plain Python
function with the same signature and docstring, made from the output of :func:`describe_tools`;
:mod:`sandbox.tools.server` and :mod:`sandbox.tools.invoke` answer its calls.
"""

from __future__ import annotations

import inspect
import json
import keyword
import unicodedata
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from sandbox.guest.tool_proxies import build_signature, compile_proxy

Tool = Callable[..., Any]


def describe_tools(tools: Mapping[str, Tool]) -> list[dict[str, Any]]:
    """Name, docstring and signature of each tool as JSON. Raises ValueError for tools a kernel cannot call."""
    return [_describe(name, function) for name, function in tools.items()]


def forked_tools(parents: Mapping[str, Tool], given: Mapping[str, Tool] | None) -> Mapping[str, Tool]:
    """The tools of a fork: those of its parent, or others under the same names. Raises ValueError for other names."""
    if given is None:
        return parents
    if set(given) != set(parents):
        raise ValueError(f"tools: a fork has the names of its kernel, {sorted(parents)} (got {sorted(given)})")
    return given


def document_tools(tools: Mapping[str, Tool]) -> str:
    """The tools as text for a prompt: the signatures and docstrings that the kernel shows, too."""
    parts = []
    for tool in describe_tools(tools):
        body = "".join(f"\n    {line}".rstrip() for line in (tool["doc"] or "").splitlines())
        parts.append(f"{tool['name']}{build_signature(tool)}{body}")
    return "\n\n".join(parts)


def _describe(name: str, function: Tool) -> dict[str, Any]:
    if not _is_function_name(name):
        raise ValueError(f"tools: {name!r} is not a Python name that a cell can call; rename it")
    if not callable(function):
        raise ValueError(f"tools: {name} is {function!r}, which is not callable; pass a function")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        raise ValueError(f"tools: {name} has no signature that inspect can read; wrap it in a function") from None
    description = {
        "name": name,
        "doc": inspect.getdoc(function.func if isinstance(function, partial) else function),
        "returns": _annotation(signature.return_annotation),
        "parameters": [_parameter(parameter) for parameter in signature.parameters.values()],
    }
    try:
        compile_proxy(description)
    except SyntaxError as error:  # possible for a Signature object, which inspect hardly checks
        raise ValueError(f"tools: {name} has an invalid signature: {error.msg}; change it") from None
    return description


def _is_function_name(name: Any) -> bool:
    """Whether a cell can call a function of this name; Python normalizes names (NFKC) in code."""
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
        return False
    return name == unicodedata.normalize("NFKC", name)


def _parameter(parameter: inspect.Parameter) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "name": parameter.name,
        "kind": parameter.kind.name,
        "annotation": _annotation(parameter.annotation),
    }
    if parameter.default is not parameter.empty:
        try:
            spec["default"] = json.loads(json.dumps(parameter.default))
        except TypeError:
            spec["shown"] = repr(parameter.default)
    return spec


def _annotation(annotation: Any) -> str | None:
    if annotation is inspect.Signature.empty:
        return None
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
