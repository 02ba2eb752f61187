"""Which names of the code its tests see.

Contract: the list of names comes from the kernel that ran the code, so it may be made up. Names of Python's own are not
taken from it: code that defines ``abs``, ``set`` or a class ``math`` would otherwise decide what its tests compare. A
function that is itself named like a builtin, such as ``sum`` of mbpp-126, is taken when the task names it or its tests
use no other name.
"""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Sequence
from typing import Any

_BUILTINS = frozenset(dir(builtins))


def offered_names(found: Any, before: str, tests: Sequence[str], entry_point: str | None) -> dict[str, str]:
    """Name → its module, or an empty text for anything else, of what the tests may use.

    Args:
        found: what the kernel with the code says it has, in this form.
        before: code that precedes the tests.
        entry_point: the function that is tested, when the task names it.
    """
    if not isinstance(found, dict):
        return {}
    used, modules = _used(before, tests)
    named = {entry_point} if entry_point else set() if used - _BUILTINS else _BUILTINS
    names = {
        str(name): str(module)
        for name, module in found.items()
        if not str(name).startswith("__") and (name not in _BUILTINS or name in named)
    }
    return names | {name: name for name in modules if name in names and name != entry_point}


def _used(before: str, tests: Sequence[str]) -> tuple[set[str], set[str]]:
    """The names that tests use and do not define, and those of them that are modules of the standard library."""
    try:
        trees = [ast.parse(text) for text in (before, *tests)]
    except SyntaxError:  # the task is broken, which its tests will show
        return set(), set()
    nodes = [node for tree in trees for node in ast.walk(tree)]
    defined = {name for node in nodes for name in _defined(node)}
    used = {node.id for tree in trees[1:] for node in ast.walk(tree) if isinstance(node, ast.Name)} - defined
    owners = [node.value.id for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)]
    alone = [node.id for node in nodes if isinstance(node, ast.Name)]
    modules = {name for name in used & sys.stdlib_module_names if owners.count(name) == alone.count(name)}
    return used, modules


def _defined(node: ast.AST) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        return [node.id]
    if isinstance(node, ast.arg):
        return [node.arg]
    if isinstance(node, ast.alias):
        return [(node.asname or node.name).partition(".")[0]]
    return []
