"""Host functions offered to cells: what a kernel, a prompt and a person get to know of them.

Contract: a tool is a named, sync or async callable whose arguments and result are JSON. The kernel gets a plain Python
function with the same signature and docstring, made from :func:`describe_tools`; calls of it are answered by
:mod:`sandbox.tools.server` and :mod:`sandbox.tools.invoke`.
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
    """What the kernel needs to know of each tool. Raises ValueError for what no function of a kernel can stand for."""
    return [_describe(name, function) for name, function in tools.items()]


def document_tools(tools: Mapping[str, Tool]) -> str:
    """The tools as a prompt shows them: signature and docstring, from the same source the kernel gets."""
    parts = []
    for tool in describe_tools(tools):
        body = "".join(f"\n    {line}".rstrip() for line in (tool["doc"] or "").splitlines())
        parts.append(f"{tool['name']}{build_signature(tool)}{body}")
    return "\n\n".join(parts)


def _describe(name: str, function: Tool) -> dict[str, Any]:
    if not _callable_as(name):
        raise ValueError(f"tools: {name!r} is not a Python name; choose one a cell can call")
    if not callable(function):
        raise ValueError(f"tools: {name} is {function!r}, which cannot be called; give a function")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        advice = "give a function of your own that calls it"
        raise ValueError(f"tools: {name} has no signature Python knows of; {advice}") from None
    description = {
        "name": name,
        "doc": inspect.getdoc(function.func if isinstance(function, partial) else function),
        "returns": _annotation(signature.return_annotation),
        "parameters": [_parameter(parameter) for parameter in signature.parameters.values()],
    }
    try:
        compile_proxy(description)
    except SyntaxError as error:  # of a signature that was put together, which is checked less than one that is written
        raise ValueError(f"tools: {name} has a signature no function can have: {error.msg}; change it") from None
    return description


def _callable_as(name: Any) -> bool:
    """Whether a cell finds a function of this name: Python looks names up in their normal form."""
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
