"""Creates ``.venv`` with the pinned dependencies. Make runs it with the system's Python: standard library only.

Contract: does nothing when the environment is up to date; can be interrupted and run again. A problem of the machine is
one sentence and exit code 2. Cost: about 2 GB on disk, a few minutes.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "installed"
LOG = VENV / "install.log"
OLDEST = (3, 11)
NEEDS_GIB = 6


def main() -> None:
    if sys.version_info < OLDEST:
        refuse(f"Python {sys.version.split()[0]} is too old, 3.11 or newer is needed; set PYTHON=/path/to/python3")
    if STAMP.exists() and STAMP.read_text() == fingerprint():
        return
    free_gib = shutil.disk_usage(ROOT).free / 2**30
    if free_gib < NEEDS_GIB:
        refuse(f"{free_gib:.1f} GiB are free at {ROOT}, {NEEDS_GIB} are needed; free some and run this again")
    make_venv()
    install()
    STAMP.write_text(fingerprint())


def fingerprint() -> str:
    """Digest of everything that decides what must be installed."""
    names = ("setup.py", "pyproject.toml", "constraints.txt", "sandbox/containers/requirements.txt")
    texts = [(ROOT / name).read_bytes() for name in names]
    return hashlib.sha256(b"".join(texts) + sys.version.encode()).hexdigest()


def make_venv() -> None:
    if (VENV / "bin" / "python").exists():
        return
    if VENV.exists() and any(VENV.iterdir()) and not (VENV / "pyvenv.cfg").exists():
        refuse(f"{VENV} is there and is no virtual environment; it stays as it is: move it elsewhere")
    print(f"making {VENV} with Python {sys.version.split()[0]}", flush=True)
    made = subprocess.run([sys.executable, "-m", "venv", str(VENV)], capture_output=True, text=True)
    if made.returncode != 0:
        shutil.rmtree(VENV, ignore_errors=True)
        refuse("Python cannot make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv")


def install() -> None:
    """Runs pip and prints its progress; the log holds its whole output."""
    packages = ["-c", str(ROOT / "constraints.txt"), "-e", f"{ROOT}[dev]"]
    command = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--no-input", "--progress-bar=off", *packages]
    print("installing the pinned dependencies (a few minutes the first time)", flush=True)
    started, shown, count = time.monotonic(), 0.0, 0
    with (
        LOG.open("w") as log,
        subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment()
        ) as pip,
    ):
        for line in pip.stdout or ():
            log.write(line)
            count += line.startswith("Collecting")
            if line.startswith("Installing") or time.monotonic() - shown > 5:
                shown = time.monotonic()
                what = "unpacking" if line.startswith("Installing") else " ".join(line.split()[:2])
                print(f"  {count} packages, {shown - started:.0f} s: {what[:80]}", flush=True)
    if pip.returncode != 0:
        explain(LOG.read_text())
    print(f"installed in {time.monotonic() - started:.0f} s", flush=True)


def environment() -> dict[str, str]:
    """pip's environment; TORCH_INDEX adds an index with the CPU build of torch (see README)."""
    extra = os.environ.get("TORCH_INDEX")
    return {**os.environ, **({"PIP_EXTRA_INDEX_URL": extra} if extra else {}), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def explain(output: str) -> None:
    """Exits with one sentence for a common cause, or with pip's error and the path of the log."""
    lowered = output.lower()
    if "no space left" in lowered:
        refuse(f"the disk is full; free some space at {ROOT} and run this again")
    if any(
        sign in lowered for sign in ("connection", "temporary failure in name resolution", "timed out", "newconnect")
    ):
        refuse("the package index cannot be reached; check the network (or pip's proxy) and run this again")
    errors = [line for line in output.splitlines() if line.startswith("ERROR")]
    refuse(f"pip could not install the dependencies: {(errors or ['see the log'])[-1]} (full log: {LOG})")


def refuse(sentence: str) -> None:
    print("error: " + sentence, file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("interrupted; the same command resumes", file=sys.stderr)
        sys.exit(75)
