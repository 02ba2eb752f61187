"""An environment below /tmp works too, although each kernel has a /tmp of its own."""

import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import asyncio
from sandbox import KernelPool, Limits

async def main():
    async with KernelPool(size=1, limits=Limits(memory_mib=256), preload=()) as pool:
        kernel = await pool.acquire()
        for code in ("import only_here; print(only_here.ANSWER)", "open(only_here.__file__, 'a')"):
            result = await kernel.run(code, timeout_s=10.0)
            print(f"{result.status} {result.stdout}".strip())

asyncio.run(main())
"""


def test_packages_below_tmp_can_be_imported_and_not_written(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    (packages,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    (packages / "ours.pth").write_text(f"{ROOT}\n{sysconfig.get_path('purelib')}\n")
    (packages / "only_here.py").write_text("ANSWER = 42\n")
    python = tmp_path / "venv" / "bin" / "python"
    ran = subprocess.run([python, "-c", SCRIPT], capture_output=True, text=True, timeout=120)
    assert ran.stdout.splitlines() == ["ok 42", "error"], ran.stderr
    assert (packages / "only_here.py").read_text() == "ANSWER = 42\n"
