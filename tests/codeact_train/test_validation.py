"""The validation loss while a run goes on: when it is taken, that it changes nothing, and when it cannot be."""

from pathlib import Path
from typing import Any

import pytest

from codeact_train.config.prepare import PrepareConfig
from codeact_train.prepare import prepare
from codeact_train.system.exit_codes import BAD_CONFIG, STOPPED
from tests.helpers.records import write_records
from tests.helpers.training import events, recipe, run_job


def test_the_held_out_loss_is_taken_before_the_first_step_and_after_each_so_many(
    tmp_path: Path, model: Path, corpus: Path
) -> None:
    watched = {"epochs": 2, "global_batch_packs": 2, "startup_checks": (), "validate_every_steps": 2}
    assert run_job(tmp_path / "plain", model, corpus, recipe(**watched | {"validate_every_steps": None})) == 0
    plain = events(tmp_path / "plain", "step")
    per_epoch = len(plain) // 2
    assert per_epoch > 3
    out = tmp_path / "watched"
    assert run_job(out, model, corpus, recipe(**watched, stop_after_steps=3)) == STOPPED
    assert run_job(out, model, corpus, recipe(**watched)) == 0
    taken = [event["step"] for event in events(out, "validation")]
    assert taken == sorted({*range(0, len(plain), 2), per_epoch, 2 * per_epoch})
    assert [event["loss"] for event in events(out, "step")] == [event["loss"] for event in plain]
    losses = {event["step"]: event["loss"] for event in events(out, "validation")}
    assert losses[2 * per_epoch] == events(tmp_path / "plain", "validation")[-1]["loss"] < losses[0]


@pytest.mark.parametrize(
    ("setting", "said"),
    [({"validate_every_steps": 1}, "validate_every_steps=1"), ({"checkpoint": {"keep_best": True}}, "keep_best=true")],
)
def test_nothing_held_out_is_refused(tmp_path: Path, model: Path, setting: dict[str, Any], said: str) -> None:
    records = write_records(tmp_path / "records.jsonl", 8)
    prepare(records, model, tmp_path / "corpus", PrepareConfig(sequence_length=320))
    assert run_job(tmp_path, model, tmp_path / "corpus", recipe(**setting)) == BAD_CONFIG
    assert said in (tmp_path / "log-0.txt").read_text()
