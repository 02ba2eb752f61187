"""The security suite in the best tier and in the one without privileges, and evidence that it can fail."""

import os
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from sandbox import probe
from sandbox.security_suite.run import CASES, SuiteKernel, run_suite
from sandbox.security_suite.scorecard import breaches, row, summary

SLOW_GROUPS = ("time", "memory", "disk", "output", "ordinary work", "as in Jupyter")
QUICK = [case for case in CASES if case.group not in SLOW_GROUPS]


@pytest.mark.parametrize("tier", ["T3", "T2", "T1"])
async def test_no_quick_case_gets_through(tier: str) -> None:
    if tier not in probe().properties:
        pytest.skip(f"tier {tier} is not available here: {probe().missing}")
    if tier == "T2" and probe().tier == "T3":
        pytest.skip("T3 is T2 and a cgroup")
    scores = await run_suite(tier, cases=QUICK)
    assert breaches(scores) == []
    assert sum(score.verdict == "held" for score in scores) > 90


@pytest.mark.slow
@pytest.mark.parametrize(("tier", "kernel"), [("T3", "light"), ("T2", "light"), ("T1", "light"), ("T3", "ipykernel")])
async def test_no_case_at_all_gets_through(tier: str, kernel: SuiteKernel) -> None:
    if tier not in probe().properties:
        pytest.skip(f"tier {tier} is not available here: {probe().missing}")
    scores = await run_suite(tier, kernel)
    assert breaches(scores) == []
    if tier != "T1":
        limits = {case.name for case in CASES if not case.promised or kernel not in case.kernels}
        assert {score.case for score in scores if score.verdict == "not promised"} <= limits


async def test_the_suite_can_fail() -> None:
    reads = [case for case in CASES if case.name in ("read a secret of the host", "connect to the host's loopback")]
    scores = await run_suite("T0", cases=reads)
    assert [score.verdict for score in scores] == ["not promised", "not promised"]
    assert all("got through" in score.seen for score in scores)


async def test_what_would_harm_the_machine_is_not_run_where_nothing_isolates() -> None:
    harmful = [case for case in CASES if case.unsafe]
    assert {"fork bomb", "write to site-packages", "become root", "memory files"} <= {case.name for case in harmful}
    assert not any(case.harmless for case in harmful)
    for kernel in ("light", "stock"):
        scores = await run_suite("T0", kernel, cases=harmful)
        assert {score.verdict for score in scores} == {"not run"}


def test_names_are_unique_and_the_card_counts_them() -> None:
    assert [name for name, count in Counter(case.name for case in CASES).items() if count > 1] == []
    from sandbox.security_suite.verdict import Score

    score = Score(case="a|b", group="g", verdict="breach", stopped_by="", seen="two\nlines", seconds=1)
    assert row(score) == "| g | a/b | BREACH |  | two lines | 1.00 |"
    assert summary([score]).splitlines()[-1] == "| all | 1 | 0 | 1 | 0 | 0 |"


def test_the_walk_for_sockets_passes_over_packages(tmp_path: Path) -> None:
    """Packages are large and read-only; on a busy machine a cell would exceed its time limit there."""
    packages = tmp_path / "lib" / "site-packages"
    packages.mkdir(parents=True)
    (case,) = (case for case in CASES if case.name == "connect to the sandbox's own sockets")
    code = case.code.replace("'/tmp', '{base}'", f"{str(tmp_path)!r},").replace("{{", "{").replace("}}", "}")
    with socket.socket(socket.AF_UNIX) as seen, socket.socket(socket.AF_UNIX) as passed:
        for sock, path in ((seen, tmp_path / "s"), (passed, packages / "s")):
            sock.bind(str(path))
            sock.listen()
        environment = os.environ | {"PYTHONPATH": str(packages)}
        shown = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert shown.stdout == f"BREACH {tmp_path}/s\n", shown.stderr
