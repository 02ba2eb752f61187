"""What can be said of a training job before it starts: whether it can run (``checks``).

Contract: reads a model's ``config.json`` and a corpus's manifest; loads no torch model, starts no process.
"""

from codeact_train.plan.checks import validate

__all__ = ["validate"]
