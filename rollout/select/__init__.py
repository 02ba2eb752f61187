"""Selection: which episodes become training records, and in which form.

``config`` has the settings; ``choose`` keeps or drops each episode by the rules of ``rules``, ``tiers``, ``language``,
``contamination`` (with ``evaluation_sets``) and ``near_duplicates``; ``form`` makes records; ``statistics`` counts;
``write`` writes the files. Contract: the same bank and the same rules give the same files.
"""

from rollout.select.config import SelectConfig
from rollout.select.form import to_record
from rollout.select.language import language_of
from rollout.select.statistics import CountTokens, success_table, token_table
from rollout.select.write import HARD_TASKS, choose, select_records

__all__ = [
    "HARD_TASKS",
    "CountTokens",
    "SelectConfig",
    "choose",
    "language_of",
    "select_records",
    "success_table",
    "to_record",
    "token_table",
]
