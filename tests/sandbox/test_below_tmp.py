"""A checkout or an environment below /tmp works too, although each kernel has a /tmp of its own."""

from pathlib import Path

import pytest

from sandbox import KernelPool, Limits


async def test_packages_below_tmp_can_be_imported_and_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "only_here.py").write_text("ANSWER = 42\n")
    monkeypatch.syspath_prepend(tmp_path)
    async with KernelPool(size=1, limits=Limits(memory_mib=256), preload=()) as pool:
        kernel = await pool.acquire()
        imported = await kernel.run("import only_here\nprint(only_here.ANSWER)", timeout_s=10.0)
        assert imported.stdout == "42\n", imported
        written = await kernel.run("open(only_here.__file__, 'a')", timeout_s=10.0)
        assert written.status == "error"
    assert (tmp_path / "only_here.py").read_text() == "ANSWER = 42\n"
