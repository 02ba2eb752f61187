"""One job at a time holds a folder, as long as its process lives."""

import errno
import fcntl
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from codeact_train.system.folders import MARK
from codeact_train.system.job_lock import hold_folder, holder_of

HOLDS = """
import sys
from pathlib import Path
from codeact_train.system.job_lock import hold_folder
with hold_folder(Path(sys.argv[1]), "run", "run", shared=sys.argv[2] == "shared"):
    Path(sys.argv[1], "work").touch()
    print("held", flush=True)
    sys.stdin.read()
"""


def start(folder: Path, how: str = "alone") -> subprocess.Popen[str]:
    """Another process that holds the folder until its input ends."""
    job = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(folder), how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert job.stdout and job.stdout.readline() == "held\n"
    return job


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    job = start(tmp_path)
    yield job
    job.kill()
    job.communicate()


@pytest.fixture(params=["locks", "no locks"])
def file_system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has locks, and one that has none."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    if request.param == "no locks":
        monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.mark.usefixtures("file_system")
def test_a_second_job_is_refused_with_the_first_until_that_has_ended(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    with pytest.raises(ValueError, match=rf"run={tmp_path}: process {holder.pid} on .* is using this folder"):
        with hold_folder(tmp_path, "run", "run"):
            pass
    holder.kill()
    holder.wait()
    with hold_folder(tmp_path, "run", "run"):
        pass
    assert holder_of(tmp_path) is None


@pytest.mark.usefixtures("file_system")
def test_a_job_waits_for_one_that_is_ending(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    with hold_folder(tmp_path, "run", "run", wait_s=30):
        pass


def test_a_job_on_another_machine_counts_until_its_record_is_removed_or_it_is_requeued(
    tmp_path: Path, holder: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    holder.kill()
    holder.wait()
    written = json.loads((tmp_path / MARK).read_text())
    written["holder"] |= {"host": "node-7", "slurm_job": "31"}
    (tmp_path / MARK).write_text(json.dumps(written))

    def refuse(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(ValueError, match=rf"on node-7, SLURM job 31.*remove {tmp_path / MARK}"):
        with hold_folder(tmp_path, "run", "run"):
            pass
    monkeypatch.setenv("SLURM_JOB_ID", "31")  # the job itself, requeued on this machine
    with hold_folder(tmp_path, "run", "run"):
        pass


def test_machines_of_one_job_hold_a_folder_together(tmp_path: Path) -> None:
    job = start(tmp_path, "shared")
    with hold_folder(tmp_path, "run", "run", shared=True):
        pass
    with pytest.raises(ValueError, match="is using this folder"), hold_folder(tmp_path, "run", "run"):
        pass
    job.communicate("")
    assert job.returncode == 0


def test_a_job_that_writes_nothing_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="refused"), hold_folder(tmp_path / "runs" / "first", "run", "run"):
        raise ValueError("refused")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / MARK).write_text(json.dumps({"kind": "export", "files": []}))
    with pytest.raises(ValueError, match="of kind 'export', not 'run'"), hold_folder(tmp_path, "run", "run"):
        pass
    assert json.loads((tmp_path / MARK).read_text())["kind"] == "export"
