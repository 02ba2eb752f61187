"""A suite for the use of tools: five domains with functions of their own, of the shape and size of M3ToolEval.

The domains are a library, a warehouse, a laboratory, a railway and an archive. Each has seven functions; some change
its state. A task has data of its own and needs several calls: loops over items, filters, comparisons and sums. Its
answer is a text, an integer, a number, a list or a truth value. ``group`` is the number of calls that the scripted
player needs (1 to 2, 3 to 5, 6 to 9), so that every task fits into the ten turns of a format with one call a turn.

The hash of a task's content decides its split, so no task of one split is in another for any seed and count. The
benchmark ``tool_suite`` is the first 82 tasks of the split ``test`` with seed 0.
"""

from rollout.families.tool_suite.family import DOMAINS, LEVELS, generate

__all__ = ["DOMAINS", "LEVELS", "generate"]
