"""Host functions offered to cells: what a kernel, a prompt and a person get to know of them.

Contract: a tool is a named, sync or async callable whose arguments and result are JSON. The kernel gets a plain Python
function with the same signature and docstring, made from :func:`describe_tools`; calls of it are answered by
:mod:`sandbox.toolserver` and :mod:`sandbox.calling`.
"""

from __future__ import annotations

import inspect
import json
import keyword
from collections.abc import Callable, Mapping
from typing import Any

Tool = Callable[..., Any]


def describe_tools(tools: Mapping[str, Tool]) -> list[dict[str, Any]]:
    """What the kernel needs to know of each tool. Raises ValueError for a name Python cannot call."""
    return [_describe(name, function) for name, function in tools.items()]


def document_tools(tools: Mapping[str, Tool]) -> str:
    """The tools as a prompt shows them: signature and docstring, from the same source the kernel gets."""
    parts = []
    for name, function in tools.items():
        doc = inspect.getdoc(function) or ""
        body = "".join(f"\n    {line}".rstrip() for line in doc.splitlines())
        parts.append(f"{name}{_signature_text(function)}{body}")
    return "\n\n".join(parts)


def _signature_text(function: Tool) -> str:
    spec = _describe("f", function)
    words = []
    for parameter in inspect.signature(function).parameters.values():
        words.append(str(parameter.replace(annotation=parameter.empty)))
    for index, given in enumerate(spec["parameters"]):
        if given["annotation"]:
            name, _, default = words[index].partition("=")
            words[index] = f"{name}: {given['annotation']}" + (f" = {default}" if default else "")
    returns = f" -> {spec['returns']}" if spec["returns"] else ""
    return f"({', '.join(words)}){returns}"


def _describe(name: str, function: Tool) -> dict[str, Any]:
    if not name.isidentifier() or keyword.iskeyword(name):
        raise ValueError(f"tools: {name!r} is not a Python name; choose one a cell can call")
    signature = inspect.signature(function)
    return {
        "name": name,
        "doc": inspect.getdoc(function),
        "returns": _annotation(signature.return_annotation),
        "parameters": [_parameter(parameter) for parameter in signature.parameters.values()],
    }


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
