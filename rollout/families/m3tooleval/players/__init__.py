"""Players of the five domains: they read a task's text, call its functions and answer.

Contract: a player is a :data:`rollout.families.calling_expert.Player`. It knows the forms in which the benchmark words
the tasks of its domain, and no task by name. At most nine calls leave a turn for the answer in every form of action.
"""
