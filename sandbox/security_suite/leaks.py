"""Cases that look for state a forked kernel may have inherited: environment, descriptors, random states."""

from __future__ import annotations

from typing import Any

from sandbox.security_suite.case import Case, tries
from sandbox.security_suite.fixtures import SECRET, Fixtures


async def _random_numbers_differ(kernel: Any, fixtures: Fixtures) -> str | None:
    return await _same("import random; random.random()", kernel, fixtures)


async def _hash_seeds_differ(kernel: Any, fixtures: Fixtures) -> str | None:
    return await _same("hash('a')", kernel, fixtures)


async def _addresses_differ(kernel: Any, fixtures: Fixtures) -> str | None:
    return await _same("id(int)", kernel, fixtures)


async def _same(code: str, kernel: Any, fixtures: Fixtures) -> str | None:
    one, two = await kernel.run(code), await fixtures.sibling.run(code)
    return f"a sibling has the same value of {code}" if one.value == two.value else None


_OPEN_FILES = f"""
for fd in range(3, 256):
    try:
        if b'{SECRET}' in os.pread(fd, 64, 0): break
    except OSError: pass
else:
    raise ValueError('no secret among the descriptors')
"""

HANDED_DOWN = [
    Case(
        "a token in the environment",
        "inherited",
        tries("if '{token}' not in str(dict(os.environ)): raise ValueError('not there')"),
        None,
        ("ok",),
        stopped_by="kernels get a new environment",
        harmless=True,
    ),
    Case(
        "a token in the first environment",
        "inherited",
        tries("if b'{token}' not in open('/proc/self/environ', 'rb').read(): raise ValueError('not there')"),
        None,
        ("ok",),
        stopped_by="the fork server is executed, not forked from the owner",
        harmless=True,
    ),
    Case(
        "an open file of the owner",
        "inherited",
        tries(_OPEN_FILES),
        None,
        ("ok",),
        stopped_by="descriptors closed before the first cell",
        harmless=True,
    ),
    Case(
        "the same random numbers",
        "inherited",
        "import random",
        None,
        ("ok",),
        check=_random_numbers_differ,
        stopped_by="random generators get new seeds in each kernel",
    ),
    Case(
        "the same hash seed",
        "inherited",
        "1",
        None,
        ("ok",),
        check=_hash_seeds_differ,
        stopped_by="Python's own",
        promised=False,
    ),
    Case(
        "the same memory layout",
        "inherited",
        "1",
        None,
        ("ok",),
        check=_addresses_differ,
        stopped_by="Linux's own",
        promised=False,
    ),
]
