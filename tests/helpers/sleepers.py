"""Processes that sleep, found by an argument of their command line."""

import asyncio
import time
from pathlib import Path


async def appears(argument: str) -> bool:
    """Waits for a started process to have its command line: Popen returns a moment before."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and not sleepers(argument):
        await asyncio.sleep(0.02)
    return bool(sleepers(argument))


def sleepers(argument: str) -> list[str]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"sleep\0{argument}" in (folder / "cmdline").read_text():
                found.append(folder.name)
        except OSError:
            continue
    return found
