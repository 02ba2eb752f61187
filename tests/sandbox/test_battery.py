"""The hostile cells, in the best tier and in the one that needs no privileges."""

import pytest

from sandbox import probe
from sandbox.battery.run import CASES, run_battery

QUICK = [case for case in CASES if case.group not in ("time", "memory", "disk", "output")]


@pytest.mark.parametrize("tier", ["T3", "T2", "T1"])
async def test_no_quick_case_gets_through(tier: str) -> None:
    if tier not in probe().properties:
        pytest.skip(f"tier {tier} is not available here: {probe().missing}")
    if tier == "T2" and probe().tier == "T3":
        pytest.skip("T3 is T2 and a cgroup")
    scores = await run_battery(tier, cases=QUICK)
    assert [score for score in scores if score.verdict == "breach"] == []
    assert sum(score.verdict == "held" for score in scores) > 60


@pytest.mark.slow
@pytest.mark.parametrize(("tier", "kernel"), [("T3", "light"), ("T2", "light"), ("T1", "light"), ("T3", "ipykernel")])
async def test_no_case_at_all_gets_through(tier: str, kernel: str) -> None:
    if tier not in probe().properties:
        pytest.skip(f"tier {tier} is not available here: {probe().missing}")
    assert [score for score in await run_battery(tier, kernel) if score.verdict == "breach"] == []


async def test_the_battery_can_fail() -> None:
    reads = [case for case in CASES if case.name in ("read a secret of the host", "connect to the host's loopback")]
    scores = await run_battery("T0", cases=reads)
    assert [score.verdict for score in scores] == ["not promised", "not promised"]
    assert all("got through" in score.seen for score in scores)
