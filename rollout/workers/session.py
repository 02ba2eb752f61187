"""The Ray session: a private one on this machine, or an existing cluster."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

# No usage statistics leave the machine. Ray reads this when it is imported.
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray

OBJECT_STORE_MIB = 256  # tasks and trajectories are small


@contextmanager
def ray_session(address: str | None = None) -> Iterator[None]:
    """Joins the cluster at ``address``, or starts a private session; ends it after the block. Nested use keeps it."""
    if ray.is_initialized():
        yield
        return
    if address is None:
        ray.init(
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=OBJECT_STORE_MIB * 2**20,
        )
    else:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield
    finally:
        ray.shutdown()
