"""YAML as people write it by hand: its version 1.2, in which a word stays a word.

Contract: only ``true`` and ``false`` are booleans, only decimal numbers are numbers, only ``null``, ``~`` and nothing
are null. ``off``, ``no``, ``24:00:00``, ``0123``, ``0x10``, ``1_000`` and ``2024-01-01`` are texts. A setting that is a
boolean also accepts ``on``, ``off``, ``yes`` and ``no``. Duplicate keys are an error.

Why not a library: PyYAML follows version 1.1 and reads the texts above as false, false, 86400, 83, 16, 1000 and a date.
ruamel.yaml 0.19 follows version 1.2 and refuses duplicate keys, but still reads the last four as 123, 16, 1000 and a
date, and a SLURM account ``0123`` would lose its zero.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

_DECIMAL = r"(?:0|[1-9][0-9]*)"
_SCALARS = {  # tag: pattern, and the characters it can begin with
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
    """PyYAML's safe loader with the scalars above instead of its own."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  # PyYAML's own form

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuses a duplicate key, whose value would silently replace the first one."""
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"duplicate key '{key.value}'", key.start_mark)
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
        return super().construct_mapping(node, deep)


for _tag, (_pattern, _first) in _SCALARS.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), [*_first])
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile("^$"), [""])


def read(text: str | bytes) -> Any:
    """The value of a YAML document; ``None`` for an empty one.

    Raises:
        yaml.YAMLError: the text is not YAML, or a mapping has a duplicate key.
    """
    return yaml.load(text, _Loader)
