"""What the watcher bounds, where no mechanism does."""

from pathlib import Path

import pytest

from sandbox import KernelPool, Limits

pytestmark = pytest.mark.asyncio(loop_scope="module")
NEST = "import os, time\nfor _ in range(1500):\n    os.mkdir('d'); os.chdir('d')\n"
FILL = "for name in 'ab':\n    open(name, 'wb').write(bytes(5 << 20))\ntime.sleep(15)"


async def test_a_deep_tree_neither_hides_files_nor_ends_the_watch() -> None:
    limits = Limits(workspace_mib=8, cell_timeout_s=20)
    async with KernelPool(size=0, limits=limits, preload=(), tier="T1") as pool, await pool.acquire() as kernel:
        result = await kernel.run(NEST + FILL)
        assert pool.server is not None
        left = Path(pool.server.base)
    assert result.status == "died" and "a workspace larger than 8 MiB" in result.stderr
    assert not left.exists()
