"""Replays of recorded runs: their turns drive episodes again, and verdicts and outputs are compared.

Contract: :func:`read_runs` reads recorded runs, :func:`replay_graders` judges their proposals again without running
anything, and :func:`replay_runs` runs their episodes in our kernels. The results are a :class:`ReplayReport`.
:func:`bank_jobs` takes the trajectories of a bank instead. No model is needed.
"""

from rollout.checks.replay.banks import bank_jobs
from rollout.checks.replay.choose import choose_runs
from rollout.checks.replay.execute import PROTOCOL, ReplayOptions, execute
from rollout.checks.replay.executed import replay_runs, report_executed
from rollout.checks.replay.graders_only import replay_graders
from rollout.checks.replay.recorded import RecordedRun, RecordedTurn, read_runs
from rollout.checks.replay.report import Disagreement, ReplayReport
from rollout.checks.replay.tasks import Job, task_of, tasks_of

__all__ = [
    "PROTOCOL",
    "Disagreement",
    "Job",
    "RecordedRun",
    "RecordedTurn",
    "ReplayOptions",
    "ReplayReport",
    "bank_jobs",
    "choose_runs",
    "execute",
    "read_runs",
    "replay_graders",
    "replay_runs",
    "report_executed",
    "task_of",
    "tasks_of",
]
