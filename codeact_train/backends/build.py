"""Builds the state of a run on the backend the job names."""

from __future__ import annotations

from codeact_train.backends.run_state import RunState
from codeact_train.config.train import TrainJob
from codeact_train.distributed.parallel_context import ParallelContext
from codeact_train.model.source import ModelSource


def build_state(job: TrainJob, ctx: ParallelContext, source: ModelSource, steps: int) -> RunState:
    """The model with the weights of ``source``, its optimizer, and the schedule of a run of ``steps``.

    Imports the chosen backend only.
    """
    if job.train.backend == "deepspeed":
        from codeact_train.backends.deepspeed.state import DeepSpeedState

        return DeepSpeedState(job, ctx, source, steps)
    from codeact_train.backends.megatron.state import MegatronState

    return MegatronState(job, ctx, source, steps)
