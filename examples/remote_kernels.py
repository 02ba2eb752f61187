"""Kernels of a service: ``codeact serve sandbox`` in a process of its own, a ``RemotePool`` in this one."""

import asyncio
import re
import secrets
import sys

from sandbox import RemotePool


def shout(text: str) -> str:
    """Upper case. The kernel is elsewhere; this function still runs here."""
    return text.upper() + "!"


async def main() -> None:
    token = secrets.token_hex(16)
    codeact = [sys.executable, "-c", "from launch.cli import main; main()"]  # in a shell: codeact
    service = await asyncio.create_subprocess_exec(
        *codeact, "serve", "sandbox", "--port", "0", "--token", token,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        async with RemotePool(await _address(service), token) as pool:
            print(f"a service whose kernels have tier {pool.tier}")
            async with await pool.acquire(tools={"shout": shout}) as kernel:
                await kernel.run("words = ['far', 'away']")
                result = await kernel.run("shout(' '.join(words))")
                print(result.status, result.value)  # → ok 'FAR AWAY!'
    finally:
        service.terminate()  # SIGTERM ends every kernel
        await service.communicate()


async def _address(service: asyncio.subprocess.Process) -> str:
    """The address the service prints when it answers."""
    assert service.stdout is not None
    async for line in service.stdout:
        if found := re.search(rb"http://127\.0\.0\.1:\d+", line):
            return found.group().decode()
    raise RuntimeError("the service ended before it answered")


if __name__ == "__main__":
    asyncio.run(main())
