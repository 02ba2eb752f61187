"""Requests wait for a beginning that is being computed, and for nothing else."""

from rollout.servers.prefix_gate import BLOCK, PrefixGate

SHARED = list(range(2 * BLOCK))


def test_a_shared_beginning_is_computed_once() -> None:
    gate = PrefixGate()
    first, second = [*SHARED, 1], [*SHARED, 2]
    assert gate.admits(first)
    gate.entered(0, first)
    assert not gate.admits(second)
    gate.prefilled(0)
    assert gate.admits(second)
    assert gate.in_work() == []


def test_other_and_short_prompts_do_not_wait() -> None:
    gate = PrefixGate()
    gate.entered(0, SHARED)
    assert gate.admits([7, *SHARED])
    assert gate.admits(SHARED[: BLOCK - 1])


def test_a_prefix_already_computed_holds_no_request() -> None:
    gate = PrefixGate()
    gate.entered(0, SHARED)
    gate.prefilled(0)
    gate.entered(1, [*SHARED, *[5] * BLOCK])
    assert gate.admits([*SHARED, *[6] * BLOCK])
    assert not gate.admits([*SHARED, *[5] * BLOCK, *[6] * BLOCK])


def test_a_cancelled_request_holds_no_other() -> None:
    gate = PrefixGate()
    gate.entered(0, SHARED)
    gate.dropped(0)
    assert gate.admits(SHARED)
    gate.dropped(0)
