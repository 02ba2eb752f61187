"""The built-in family: unlimited, seeded, automatically graded tasks that need code over several turns.

Four kinds: ``table`` (a pandas table whose columns must be looked at), ``sql`` (the same questions over sqlite),
``math`` (word problems whose answer needs computation) and ``tool`` (functions given to the model must be combined).
On a fixed share of tasks the straightforward code fails and has to be repaired.

A task belongs to the split its content hashes to, so the splits are disjoint for every seed and count. The held-out
split has three groups: ``trained`` (other data, wordings and tools of training), ``unseen_wording`` and
``unseen_tool``.
"""

from rollout.families.procedural.family import KINDS, generate

__all__ = ["KINDS", "generate"]
