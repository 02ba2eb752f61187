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
        _join(address)
    try:
        yield
    finally:
        ray.shutdown()


def _join(address: str) -> None:
    """Joins a running cluster. Raises ``ValueError`` when none answers at the address."""
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError) as error:  # ConnectionError is an OSError
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise ValueError(
            f"ray.address={address}: no Ray cluster answers there ({reason}); start one with `ray start --head`, or "
            "leave ray.address out"
        ) from error
