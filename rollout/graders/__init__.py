"""Graders: is a proposed answer right?

Contract: a grader is found by name in :data:`rollout.registry.GRADERS`. :func:`judge` calls it and returns a
:class:`Verdict`, which is ``right``, ``wrong`` or ``none``: no verdict, because the infrastructure or the task failed.
No verdict is never a zero. Graders run on the host and see text; nothing of them enters a kernel.
"""

from rollout.graders.judge import judge, judge_async
from rollout.graders.verdict import Grader, Verdict, right, wrong

__all__ = ["Grader", "Verdict", "judge", "judge_async", "right", "wrong"]
