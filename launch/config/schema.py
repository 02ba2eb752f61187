"""JSON schema of the configuration, for completion and checks in an editor.

``configs/schema.json`` is this schema; ``codeact schema --out configs/schema.json`` writes it. A recipe names it in its
first line: ``# yaml-language-server: $schema=schema.json``.
"""

from __future__ import annotations

import json

from launch.config.loop import LoopConfig

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> str:
    """The schema as JSON text: every key with its type, default and description."""
    return json.dumps({"$schema": DIALECT, **LoopConfig.model_json_schema()}, indent=1, ensure_ascii=False) + "\n"
