"""The trainer under torchrun's agent, as the loop starts it."""

import signal

import pytest

from codeact_train.config import TrainConfig
from launch.place import LaunchConfig
from launch.torchrun import TrainingStopped, run


def test_an_interrupt_means_the_same_after_training_as_before(tmp_path):
    """Else Ctrl-C in the evaluation would end in a traceback of the agent's."""
    job = tmp_path / "job.json"
    job.write_text("{}")
    watched = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    before = [signal.getsignal(number) for number in watched]
    with pytest.raises(TrainingStopped, match="2") as stopped:
        run(job, LaunchConfig(), TrainConfig())
    assert stopped.value.code == 2
    assert [signal.getsignal(number) for number in watched] == before
