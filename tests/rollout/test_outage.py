"""When a run stops because no attempt succeeds any more."""

import pytest

from rollout.bank.trajectory import EpisodeError, Outcome, Trajectory
from rollout.workers.outage import PATIENCE_S, REFUSALS, Outage, OutageError
from tests.helpers.episodes import record


def lost(*, refused: bool = False, model: str = "m") -> Trajectory:
    error = EpisodeError(kind="infra", message="401: bad key" if refused else "gone", refused=refused)
    outcome = Outcome(success=False, reward=0.0, reason="error", error=error)
    return record(0, model=model).model_copy(update={"outcome": outcome})


def test_refusals_in_a_row_stop_a_run_at_once() -> None:
    outage = Outage(at_once=100)
    for _ in range(3):
        for _ in range(REFUSALS - 1):
            outage.see(lost(refused=True))
        outage.see(record(0))
    for _ in range(REFUSALS - 1):
        outage.see(lost(refused=True))
        outage.see(record(1, model="another"))
    with pytest.raises(OutageError, match=r"the engine m refuses every request \(401: bad key\); .* same command"):
        outage.see(lost(refused=True))


def test_a_server_may_restart_but_not_be_away_for_long() -> None:
    now = [0.0]
    outage = Outage(at_once=4, clock=lambda: now[0])
    for _ in range(50):
        outage.see(lost())
    now[0] = PATIENCE_S - 1
    outage.see(lost())
    outage.see(record(0))
    for _ in range(5):
        outage.see(lost())
        now[0] += PATIENCE_S / 5
    with pytest.raises(OutageError, match=r"every episode of m was lost for 10 minutes \(gone\)"):
        outage.see(lost())


def test_the_note_of_a_refusal_travels_but_is_not_stored() -> None:
    import pickle

    one = pickle.loads(pickle.dumps(lost(refused=True)))
    assert one.outcome.error and one.outcome.error.refused
    assert "refused" not in one.model_dump_json()
