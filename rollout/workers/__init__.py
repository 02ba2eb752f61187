"""Ray: the session, the actors that run episodes, and the progress of their work."""

from rollout.workers.actors import EpisodeJob, Job, run_jobs
from rollout.workers.outage import OutageError
from rollout.workers.session import ray_session

__all__ = ["EpisodeJob", "Job", "OutageError", "ray_session", "run_jobs"]
