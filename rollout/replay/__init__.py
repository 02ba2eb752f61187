"""Replays of recorded runs: their turns drive episodes again, and verdicts and outputs are compared.

Contract: :func:`read_runs` reads recorded runs, :func:`replay_graders` judges their proposals again without running
anything, and :func:`execute` runs their episodes in our kernels. The results are a :class:`ReplayReport`. No model is
needed.
"""

from rollout.replay.choose import choose_runs
from rollout.replay.execute import PROTOCOL, ReplayOptions, execute
from rollout.replay.executed import replay_runs, report_executed
from rollout.replay.graders_only import replay_graders
from rollout.replay.recorded import RecordedRun, RecordedTurn, read_runs
from rollout.replay.report import Disagreement, ReplayReport
from rollout.replay.tasks import task_of, tasks_of

__all__ = [
    "PROTOCOL",
    "Disagreement",
    "RecordedRun",
    "RecordedTurn",
    "ReplayOptions",
    "ReplayReport",
    "choose_runs",
    "execute",
    "read_runs",
    "replay_graders",
    "replay_runs",
    "report_executed",
    "task_of",
    "tasks_of",
]
