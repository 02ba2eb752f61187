"""JSON schema of the configuration, for completion and checks in an editor.

``configs/schema.json`` is this schema; ``codeact schema --out configs/schema.json`` writes it. A recipe names it in its
first line: ``# yaml-language-server: $schema=schema.json``.
"""

from __future__ import annotations

import json
from pathlib import Path

from codeact_train.system.folders import read_object
from launch.config.loop import LoopConfig
from rollout import write_atomically

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> str:
    """The schema as JSON text: every key with its type, default and description."""
    return json.dumps({"$schema": DIALECT, **LoopConfig.model_json_schema()}, indent=1, ensure_ascii=False) + "\n"


def write_schema(out: Path) -> None:
    """Writes the schema to ``out``: a file, atomically, or a device such as ``/dev/stdout``.

    Raises:
        ValueError: ``out`` is a file of something else, or a folder.
    """
    if out.is_char_device() or out.is_fifo():
        with out.open("w", encoding="utf-8") as device:
            device.write(json_schema())
        return
    if out.exists() and read_object(out).get("title") != LoopConfig.__name__:
        raise ValueError(f"--out={out}: this is not a schema of `codeact schema`; it stays as it is: give another name")
    write_atomically(out, json_schema())
