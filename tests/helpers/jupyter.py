"""Stock Jupyter clients of the sandbox's kernels."""

from typing import Any

CONFIG = {"preload": [], "limits": {"memory_mib": 512}}
"""Settings of a kernel spec for tests."""


def outputs_of(client: Any, code: str, **options: Any) -> tuple[str, list[str]]:
    """Reply status, and what reached iopub as text; a stream may come in any number of pieces."""
    seen: list[str] = []
    streams: list[str | None] = [None]

    def take(message: dict) -> None:
        content = message["content"]
        if "text" in content and streams[-1] == content["name"]:
            seen[-1] += content["text"]
            return
        shown = [text for text in (content.get("text"), content.get("ename")) if text]
        shown.extend([content["data"]["text/plain"]] if "data" in content else [])
        seen.extend(shown)
        streams.extend([content.get("name")] if shown else [])

    reply = client.execute_interactive(code, output_hook=take, timeout=30, **options)
    return reply["content"]["status"], seen
