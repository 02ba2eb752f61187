"""Installations that are not editable: kernels see the project's packages empty; the sandbox as a wheel alone."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from sandbox import probe
from sandbox.isolation.spawn import SOURCE

SCRIPT = """
import asyncio, sys, sandbox
from sandbox import KernelPool

async def main():
    async with KernelPool(size=0, preload=(), tier=sys.argv[1]) as pool, await pool.acquire() as kernel:
        print(sandbox.__file__)
        print((await kernel.run("import rollout.answers")).error_name)
        print((await kernel.run(f"import os; os.listdir('{sys.argv[2]}/rollout')")).value)
        print((await kernel.run("import numpy; numpy.__name__")).value)

asyncio.run(main())
"""


@pytest.mark.parametrize("tier", ["T3", "T2"])
def test_a_kernel_does_not_see_our_own_packages(tier: str, tmp_path: Path) -> None:
    if tier not in probe().properties:
        pytest.skip(f"tier {tier} is not available here")
    packages = tmp_path / "site-packages"
    for folder in ("rollout", "codeact-9.dist-info"):
        (packages / folder).mkdir(parents=True)
    (packages / "sandbox").symlink_to(Path(SOURCE, "sandbox"))
    (packages / "rollout" / "answers.py").write_text("answer = 42\n")
    (packages / "codeact-9.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: codeact\nVersion: 9\n")
    (packages / "codeact-9.dist-info" / "top_level.txt").write_text("rollout\n")
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, tier, str(packages)],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": str(packages)},
        cwd="/",
    )
    assert ran.stdout.split() == [f"{packages}/sandbox/__init__.py", "ModuleNotFoundError", "[]", "'numpy'"], ran.stderr


WHEEL_SCRIPT = """
import asyncio, sys, sandbox
from importlib.metadata import distribution
from sandbox import KernelPool

async def main():
    async with KernelPool(size=0, preload=()) as pool, await pool.acquire() as kernel:
        print(sandbox.__file__)
        print((await kernel.run("6 * 7")).value)
        print(pool.tier in ("T0", "T1") or (await kernel.run(f"import os; os.listdir('{sys.argv[1]}/sandbox')")).value)
    print(*distribution("codeact-sandbox").entry_points)

asyncio.run(main())
"""


def test_the_sandbox_builds_as_a_wheel_alone_and_runs_from_it(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    subprocess.run([*build, str(Path(SOURCE, "sandbox", "containers", "wheel"))], check=True, timeout=120)
    (wheel,) = tmp_path.glob("codeact_sandbox-*.whl")
    packages = tmp_path / "site-packages"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    assert {path.name for path in packages.iterdir() if not path.name.endswith(".dist-info")} == {"sandbox"}
    assert (packages / "sandbox" / "py.typed").exists() and (
        packages / "sandbox" / "containers" / "Dockerfile"
    ).exists()
    ran = subprocess.run(
        [sys.executable, "-c", WHEEL_SCRIPT, str(packages)],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": str(packages)},
        cwd="/",
    )
    where, value, hidden, entry_points = ran.stdout.splitlines() or [ran.stderr] * 4
    assert (where, value) == (f"{packages}/sandbox/__init__.py", "42") and hidden in ("[]", "True")
    assert "codeact-zygote" in entry_points
