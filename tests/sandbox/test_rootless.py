"""The isolation tests again, as a user without any privilege: tiers T2 and T1 as most machines have them."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

SCRIPT = """
set -e
mount --make-rprivate /
if [ -n "$HIDDEN" ]; then  # the interpreter lies in a folder that only root may enter
    mkdir -p "$SCRATCH" && mount --bind "$KEEP" "$SCRATCH"
    mount -t tmpfs -o mode=755 none "$HIDDEN" && mkdir -p "$KEEP" && mount --move "$SCRATCH" "$KEEP"
fi
exec setpriv --reuid 12345 --regid 12345 --clear-groups env HOME=/nonexistent PYTHONDONTWRITEBYTECODE=1 "$@"
"""


@pytest.mark.slow
def test_the_isolation_holds_without_privileges() -> None:
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "setpriv"))):
        pytest.skip("needs root to become nobody, and util-linux")
    keep = Path(sys.base_prefix)
    scratch = Path(tempfile.mkdtemp(prefix="codeact-rootless-"))
    scratch.chmod(0o777)
    hidden = [folder for folder in reversed(keep.parents) if not folder.stat().st_mode & 0o001]
    environment = {
        **os.environ,
        "HIDDEN": str(hidden[0]) if hidden else "",
        "KEEP": str(keep),
        "SCRATCH": str(scratch / "interpreter"),
    }
    tests = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--basetemp={scratch / 'of-tests'}"]
    names = (
        "test_isolation.py",
        "test_owner_killed.py",
        "test_policy.py",
        "test_egress.py",
        "test_checkpoint.py",
        "test_checkpoint_costs.py",
    )
    tests += [str(Path(__file__).with_name(name)) for name in names]
    done = subprocess.run(
        ["unshare", "-m", "bash", "-c", SCRIPT, "rootless", *tests],
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=300,
    )
    shutil.rmtree(scratch, ignore_errors=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
