"""Planning: checks and estimates for a training job before it starts.

``validate`` checks that a job can run. ``estimate`` predicts memory (``memory``), step time (``step_time``,
``traffic``) and rates of a parallel layout (``layout``) on a cluster (``hardware``), for the cost of a model
(``model_cost``) and a ``workload``; ``published`` compares the predictions with published runs. ``miniature`` makes a
tiny copy of a job for a dry run.

Contract: reads a model's ``config.json`` and a corpus's manifest; loads no torch model and starts no process.
"""

from codeact_train.plan.checks import validate
from codeact_train.plan.estimate import Estimate, estimate, rank
from codeact_train.plan.hardware import Cluster
from codeact_train.plan.layout import ParallelLayout
from codeact_train.plan.miniature import miniature
from codeact_train.plan.model_cost import ModelCost
from codeact_train.plan.published import TOLERANCE, Comparison, compare, missed
from codeact_train.plan.shapes import shipped_folder, shipped_model
from codeact_train.plan.workload import Workload

__all__ = [
    "TOLERANCE",
    "Cluster",
    "Comparison",
    "Estimate",
    "ModelCost",
    "ParallelLayout",
    "Workload",
    "compare",
    "estimate",
    "miniature",
    "missed",
    "rank",
    "shipped_folder",
    "shipped_model",
    "validate",
]
