"""YAML as people write it by hand: its version 1.2, in which a word stays a word.

Contract: only ``true`` and ``false`` are booleans, only decimal numbers are numbers, only ``null``, ``~`` and nothing
are null; ``off``, ``no``, ``24:00:00``, ``0123`` and ``2024-01-01`` are the texts they are. Where a setting is a
boolean, its type reads ``on``, ``off``, ``yes`` and ``no`` as such. A key that stands twice in a mapping is an error.
PyYAML's own loaders follow version 1.1, which makes ``false``, ``false``, 86400, 83 and a date of those texts.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

_DECIMAL = r"(?:0|[1-9][0-9]*)"
_SCALARS = {  # tag: what it looks like, and the characters that can begin it
    "null": (r"~|null|Null|NULL|", "~nN"),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (rf"[-+]?{_DECIMAL}", "-+0123456789"),
    "float": (
        rf"[-+]?(?:\.[0-9]+|{_DECIMAL}(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
    "merge": (r"<<", "<"),
}


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the scalars above in place of its own."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  # PyYAML's own form

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuses a second value for a key, which would silently replace the first."""
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"'{key.value}' stands twice", key.start_mark)
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
        return super().construct_mapping(node, deep)


for _tag, (_pattern, _first) in _SCALARS.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), [*_first])
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile("^$"), [""])


def read(text: str | bytes) -> Any:
    """The value of a YAML document; ``None`` for an empty one.

    Raises:
        yaml.YAMLError: it is not YAML.
    """
    return yaml.load(text, _Loader)
