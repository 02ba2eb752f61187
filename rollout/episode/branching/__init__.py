"""Branches of episodes: an episode is continued from the middle, several times, in forks of its kernel.

Contract: :func:`first_error` finds where a failed episode went wrong; :func:`run_branches` restores the state there and
samples continuations. A branch is a trajectory of its own: its id depends on its parent and on the point, and
``branch`` names both.
"""

from rollout.episode.branching.job import BranchJob, repair_jobs
from rollout.episode.branching.point import first_error
from rollout.episode.branching.run import StateDiffersError, run_branches

__all__ = ["BranchJob", "StateDiffersError", "first_error", "repair_jobs", "run_branches"]
