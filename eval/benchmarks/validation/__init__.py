"""Checks of benchmarks without a model: right answers solve every task, made wrong ones solve none.

Contract: a benchmark is checked in up to two ways, each with counts and findings of its own. Its graders judge right
answers and wrong answers made from them (:mod:`rollout.checks.validate`). Where its tasks have experts, they are played
in whole episodes under every protocol of the benchmark, with the functions, kernels and graders of an evaluation; and
episodes that propose every wrong answer must stay unsolved.

A new benchmark needs nothing here. Its grader needs a form in ``rollout/checks/validate/answers.py``, which says how
right and wrong answers are made; its tasks may have experts, in other forms than tags by the method ``in_form``, as
:class:`rollout.families.CallingExpert` has it. An expert whose method ``wrong_turns(form)`` lists wrong turns gets an
episode for each of these, in place of the answers; experts of its method ``wrong_experts()`` are played, too, and must
not solve the task. Where a right path may be longer than an episode, its method ``with_room(task)`` gives the task and
a number of turns in which the path ends.

Cost: a call of the grader an answer; an episode takes tens of milliseconds, with a kernel where actions are code.
"""

from eval.benchmarks.validation.report import Check, table
from eval.benchmarks.validation.run import validate_benchmark, ways_of

__all__ = ["Check", "table", "validate_benchmark", "ways_of"]
