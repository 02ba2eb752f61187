"""Killed or asked to stop anywhere, then started again: the weights of a run that never stopped, bit for bit.

The signal is sent by the process itself as it enters the function in question, so that it always falls there.
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch.distributed.checkpoint.filesystem import FileSystem

from codeact_train.backends.megatron.state import MegatronState
from codeact_train.checkpoint import async_save
from codeact_train.data.sampler import Sampler
from codeact_train.system.exit_codes import STOPPED
from codeact_train.trainer import Trainer
from tests.helpers.runs import outcome
from tests.helpers.training import recipe, run_job, start_job

SAVED_OFTEN = {"checkpoint": {"every_steps": 1}}
MOMENTS = {
    "data": (Sampler, "batch", 4),
    "the first data": (Sampler, "batch", 1),
    "step": (MegatronState, "optimizer_step", 4),
    "save": (async_save, "_write_bucket", 3),
    "metadata of a save": (FileSystem, "rename", 1),
    "publishing a save": (Path, "rename", 4),
    "pruning": (os, "rmdir", 1),  # the folder is empty by then
    "export": (Trainer, "_export", 1),
    "export's weights": (MegatronState, "export", 1),
}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory, model: Path, corpus: Path) -> tuple[list[dict], list[str]]:
    out = tmp_path_factory.mktemp("unbroken")
    assert run_job(out, model, corpus, recipe(**SAVED_OFTEN)) == 0
    return outcome(out)


def striking(function: Callable[..., Any], call: int, number: int) -> Callable[..., Any]:
    """The function, which on being called so often first sends its process the signal."""
    calls = 0

    def strikes(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            os.kill(os.getpid(), number)
        return function(*arguments, **options)

    return strikes


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("moment", MOMENTS)
def test_nothing_is_lost(
    tmp_path: Path,
    model: Path,
    corpus: Path,
    unbroken: tuple[list[dict], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
    number: int,
) -> None:
    owner, name, call = MOMENTS[moment]
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, striking(getattr(owner, name), call, number))
        (job,) = start_job(tmp_path, model, corpus, recipe(**SAVED_OFTEN))
        job.join(timeout=240)
    assert job.exitcode == (-number if number == signal.SIGKILL else STOPPED)
    assert run_job(tmp_path, model, corpus, recipe(**SAVED_OFTEN)) == 0
    assert outcome(tmp_path) == unbroken
    assert not list((tmp_path / "checkpoints").glob("*.building"))
