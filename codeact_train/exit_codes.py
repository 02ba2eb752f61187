"""How a training job ended, as its exit code; 0 says that the run is finished, any other that there is a bug. And what
asks one to end."""

import signal

ASKING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
"""Signals that ask a job to save and end; SIGUSR1 is a scheduler's whose time limit is near."""

STOPPED = 75
"""It saved and stopped before its end: start it again to go on (EX_TEMPFAIL: try again)."""
BAD_CONFIG = 2
"""It could not be started as configured, and said why."""
PROOF_FAILED = 3
"""A start-up proof did not hold."""
UNSOUND = 4
"""A step was not finite, or a save was not the state of the run; what was saved before stands."""
