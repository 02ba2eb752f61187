"""Limits and cells that several tests of checkpoints use."""

from sandbox import Limits

LIMITS = Limits(memory_mib=256, workspace_mib=16, workspace_inodes=200, cell_timeout_s=20.0, output_chars=1000,
                printed_mib=4, interrupt_grace_s=0.3, processes=24)  # fmt: skip
EXIT = "import os; os._exit(3)"
SLEEPS_ON = """import gc, time
for each in gc.get_objects():
    if type(each).__name__ == 'LightKernel':
        type(each)._on_resume_request = lambda self, content: time.sleep(100)"""
