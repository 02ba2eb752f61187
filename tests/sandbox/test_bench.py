"""The benchmark and the soak test on a small scale: targets, leaks, leftover processes."""

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from sandbox.bench import footprint
from sandbox.bench.figures import Figure, missed, row
from sandbox.bench.kills import kills
from sandbox.bench.soak import at_once, cycles
from sandbox.host.procfs import descendants


@pytest.mark.parametrize(
    ("figure", "met"),
    [
        (Figure(name="ms", ours=10, baseline=500, at_most=15, ratio_at_least=40), True),
        (Figure(name="ms", ours=10, baseline=300, at_most=15, ratio_at_least=40), False),
        (Figure(name="ms", ours=16, baseline=1000, at_most=15, ratio_at_least=40), False),
        (Figure(name="rate", ours=2000, baseline=400, at_least=1300, ratio_at_least=4), True),
        (Figure(name="rate", ours=1000, baseline=100, at_least=1300), False),
        (Figure(name="left", ours=0, at_most=0), True),
        (Figure(name="not measured", ours=None, at_most=0), False),
        (Figure(name="only measured", ours=3, baseline=4), None),
    ],
)
def test_targets_are_met_or_missed(figure: Figure, met: bool | None) -> None:
    assert figure.met is met
    assert ("MISSED" in row(figure)) == (met is False) and bool(missed([figure])) == (met is False)


def test_a_footprint_sees_processes_and_descriptors() -> None:
    before = footprint.measure_footprint()
    with open("/dev/null") as _file, subprocess.Popen(["sleep", "60"]) as child:  # noqa: PTH123
        during = footprint.measure_footprint()
        child.kill()
    assert during.processes == before.processes + 1 and during.descriptors > before.descriptors
    assert child.pid in descendants(os.getpid()) or not Path(f"/proc/{child.pid}").exists()


def test_kernels_alive_at_once_answer_and_nothing_stays_behind() -> None:
    figures = asyncio.run(at_once("T1", 6, lambda figure: None))
    more, table = asyncio.run(cycles("T1", 40, lambda figure: None, lambda growth: None))
    assert missed(figures + more) == []
    assert figures[0].ours == 6 and table[-1].cycles == 40


def test_a_sudden_death_of_owner_or_fork_server_leaves_nothing() -> None:
    assert missed(kills("T1", lambda figure: None)) == []
