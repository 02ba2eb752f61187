"""The battery of cheating agents: no verdict can be forged.

Contract: :data:`AGENTS` are scripted agents that try to be scored without doing the task: they write rewards, patch
what they find, look for the answer, pass tests without code, hand over forged states, persuade the judge, or avoid
their verdict. :func:`run_battery` plays each as a whole episode with real kernels, tasks and graders. docs/eval.md
lists them.
"""

from eval.forging.agent import Agent
from eval.forging.agents import AGENTS
from eval.forging.battery import Attempt, run_battery
from eval.forging.table import HEAD, published, row, summary

__all__ = ["AGENTS", "HEAD", "Agent", "Attempt", "published", "row", "run_battery", "summary"]
