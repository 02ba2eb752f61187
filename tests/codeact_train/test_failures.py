"""Failures of a machine become a sentence with the file and a fix; bugs keep their traceback."""

import errno
import importlib
import os
from pathlib import Path

import pytest

from codeact_train.system.failures import named, read_json_object, sentence


def failed(path: Path, number: int) -> OSError:
    return OSError(number, os.strerror(number), str(path))


def test_a_full_disk_is_named_with_what_is_free(tmp_path: Path) -> None:
    said = sentence(failed(tmp_path / "not" / "there", errno.ENOSPC))
    assert said and said.startswith(f"{tmp_path}/not/there: the disk is full (") and "MiB are free); free some" in said


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EISDIR, errno.ENOTDIR, errno.EDQUOT, errno.EMFILE])
def test_a_reason_of_the_system_has_a_fix(tmp_path: Path, number: int) -> None:
    said = sentence(failed(tmp_path / "f", number))
    assert said and said.startswith(f"{tmp_path}/f: ") and "; " in said and "Errno" not in said


def test_a_write_that_fails_gets_the_name_of_its_file() -> None:
    with pytest.raises(OSError) as failure, named(Path("runs/x/metrics.jsonl")):
        with open("/dev/full", "w") as full:  # noqa: PTH123
            full.write("x")
    assert str(sentence(failure.value)).startswith("runs/x/metrics.jsonl: the disk is full")


def test_a_missing_package_is_named_with_the_command_that_installs_it() -> None:
    with pytest.raises(ImportError) as failure:
        importlib.import_module("flash_attn_that_is_not_there.ops")
    assert sentence(failure.value) == (
        "flash_attn_that_is_not_there is not installed; pip install flash_attn_that_is_not_there"
    )
    assert (
        sentence(ModuleNotFoundError("no", name="flash_attn.ops"))
        == "flash_attn.ops is not installed; pip install flash-attn"
    )


@pytest.mark.parametrize(
    "bug",
    [
        KeyError("x"), AssertionError(), RuntimeError("shape mismatch"), ModuleNotFoundError("no", name="rollout.nope"),
        OSError("no number"), ImportError("cannot import name"),
    ],
)  # fmt: skip
def test_a_bug_has_no_sentence(bug: Exception) -> None:
    assert sentence(bug) is None


@pytest.mark.parametrize("content", [b"", b'{"a": [1, ', b"\xff\xfe", b"[1]", b"3"])
def test_a_cut_file_is_named_with_its_fix(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "corpus.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"corpus\.json: .*; run `codeact prepare` again"):
        read_json_object(tmp_path / "corpus.json", "run `codeact prepare` again")
