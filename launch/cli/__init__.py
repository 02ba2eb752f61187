"""The command ``codeact``: one verb a stage, one YAML file a run.

Exit codes: 0 done; 2 the input needs a correction, given in one sentence; 3 and 4 the trainer's, see
:mod:`codeact_train.system.exit_codes`; 75 interrupted with all finished work kept, so that the same command resumes
(SLURM requeues on it); 1 a bug, with its traceback.
"""

from launch.cli.app import app, main

__all__ = ["app", "main"]
