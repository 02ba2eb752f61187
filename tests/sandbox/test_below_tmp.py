"""Interpreters and packages below /tmp stay visible, although each kernel has its own /tmp."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import os, sys
from sandbox.guest.isolation import namespaces

base, package = sys.argv[1:]
namespaces.build_root(base, [package], [], {"read_only": {}, "read_write": {}, "devices": {}})
namespaces.enter({"workspace_mib": 8, "workspace_inodes": 100}, user=65534)
print(open(package + "/here.txt").read())
print(sorted(os.listdir("/tmp")) == [package.split("/")[2]])
open("/tmp/mine", "w").write("x")
try:
    open(package + "/here.txt", "a")
except OSError as fault:
    print(type(fault).__name__)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts without a user namespace need root")
def test_a_package_below_tmp_is_seen_read_only_beside_the_kernels_own_files(tmp_path: Path) -> None:
    if not tmp_path.is_relative_to("/tmp"):
        pytest.skip("pytest's folders are not below /tmp here")
    package, base = tmp_path / "package", tmp_path / "base"
    package.mkdir()
    base.mkdir()
    (package / "here.txt").write_text("42")
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(base), str(package)], capture_output=True, text=True, timeout=60
    )
    assert ran.stdout.split() == ["42", "True", "PermissionError"], ran.stderr
    assert not (Path("/tmp") / "mine").exists()
