"""One run folder for all report tests: made once, never written to by a test that does not copy it."""

from pathlib import Path

import pytest

from tests.helpers.example_run import make_run


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with every stage done: 40 tasks, base and two epochs."""
    return make_run(tmp_path_factory.mktemp("runs") / "whole", epochs=2, tasks=40, collected=60)
