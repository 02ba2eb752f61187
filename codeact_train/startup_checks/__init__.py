"""Checks made with the real model, kernels and corpus before the first step; a job that fails one does not train.

Contract: each check measures one number against a bound, and its message says what went wrong. All processes take part.
Cost: a few forward passes over the shortest documents; for ``parity`` also a second copy of the model on the main
process while it runs. Seconds for a small model. One module a check; ``run`` runs those a job names.
"""

from codeact_train.startup_checks.all_checks import run
from codeact_train.startup_checks.check import CheckContext, StartupCheck, StartupCheckFailed

__all__ = ["CheckContext", "StartupCheck", "StartupCheckFailed", "run"]
