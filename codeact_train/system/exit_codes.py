"""Exit codes of a training job, and the signals that ask it to stop. 0: the run is finished; 1: a bug."""

import signal

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
"""Signals that make a job save and stop. Schedulers send SIGUSR1 before their time limit."""

STOPPED = 75
"""The job saved and stopped before its end; start it again to continue (EX_TEMPFAIL: try again)."""
BAD_CONFIG = 2
"""The job cannot start as configured; its message names the setting."""
CHECK_FAILED = 3
"""A start-up check failed."""
CORRUPT_STATE = 4
"""A step was not finite, or a save differed from the state of the run; earlier checkpoints are intact."""
