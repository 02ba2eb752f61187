"""The built-in family: seeded, automatically graded tasks that need code over several turns. Their number is unlimited.

Four kinds: ``table`` (a pandas table whose columns must be looked at), ``sql`` (the same questions over sqlite),
``math`` (word problems that need a computation) and ``tool`` (the model combines functions that it is given).
On a fixed share of the tasks the straightforward code fails and has to be repaired.

A hash of a task's content decides its split, so the splits are disjoint for every seed and count. The held-out
split has three groups: ``trained`` (other data, wordings and tools of training), ``unseen_wording`` and
``unseen_tool``.
"""

from rollout.families.procedural.family import KINDS, generate

__all__ = ["KINDS", "generate"]
