"""`codeact prove`: what it prints and ends with. What it proves is tested with the trainer."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from codeact_train.parity import layouts
from launch.cli import app


def proved(monkeypatch: pytest.MonkeyPatch, difference: float) -> list[int]:
    """Replaces the comparison by one of two rows; returns the steps it was asked for."""
    asked: list[int] = []

    def compare(steps: Any, scratch: Path, on_verdict: Any) -> Any:
        asked.append(steps)
        verdicts = [layouts.Verdict("llama", "packed", 1, 3, 1e-7, difference, 0.0, 0.1),
                    layouts.Verdict("llama", "TP2", 2, 3, 1e-7, 1e-7, 1e-7, 0.1)]  # fmt: skip
        for verdict in verdicts:
            on_verdict(verdict)
        return layouts.Report(steps, verdicts)

    monkeypatch.setattr(layouts, "compare", compare)
    return asked


def test_rows_that_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = proved(monkeypatch, 1e-7)
    result = CliRunner().invoke(app, ["prove", "layouts", "--steps", "3"])
    assert (result.exit_code, asked) == (0, [3])
    assert "2 rows, all agree within 1e-05" in result.stdout
    assert result.stdout.count("holds") == 2


@pytest.mark.parametrize("difference", [1e-4, float("nan")])
def test_a_row_that_does_not(monkeypatch: pytest.MonkeyPatch, difference: float) -> None:
    proved(monkeypatch, difference)
    result = CliRunner().invoke(app, ["prove", "layouts"])
    assert result.exit_code == 3
    assert "2 rows, 1 do not agree within 1e-05" in result.stdout
    (wrong,) = [line for line in result.stdout.splitlines() if line.endswith("FAILS")]
    assert "packed" in wrong


def test_json_alone_on_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    proved(monkeypatch, 1e-4)
    result = CliRunner().invoke(app, ["prove", "layouts", "--json"])
    said = json.loads(result.stdout)
    assert result.exit_code == 3
    assert (said["holds"], said["tolerance"]) == (False, 1e-5)
    assert [(row["row"], row["holds"]) for row in said["rows"]] == [("packed", False), ("TP2", True)]
