"""A configuration that cannot work names key, value and fix before anything starts."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from codeact_train import train
from codeact_train.config.prepare import PrepareConfig
from codeact_train.config.recipe import recipe_digest
from codeact_train.config.train import TrainConfig
from codeact_train.data.corpus import Corpus
from codeact_train.data.records import Unreadable, parse
from codeact_train.data.vocabulary import Vocabulary
from codeact_train.model.spec import ModelSpec
from codeact_train.plan import validate
from codeact_train.system import exit_codes
from tests.helpers.training import recipe, run_job


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"epoch": 2}, "epoch"),
        ({"epochs": "many"}, "epochs"),
        ({"optimizer": {"lr": 1e-5, "min_lr": 1e-4}}, "min_lr=0.0001 is above lr=1e-05"),
        ({"parallel": {"sequence_parallel": True}}, "sequence_parallel=true needs tensor > 1"),
    ],
)
def test_wrong_keys_types_and_relations(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        TrainConfig.model_validate(settings)


def test_layout_must_divide_the_model(model: Path) -> None:
    with pytest.raises(ValueError, match=r"parallel.tensor=6 does not fit the model: .* choose one of \[1, 2, 4, 8\]"):
        validate(recipe(parallel={"tensor": 6}), model, processes=6)
    validate(recipe(parallel={"tensor": 8}), model, processes=8)  # two processes share a key-value head
    with pytest.raises(ValueError, match=r"parallel.tensor=2 does not divide the 3 processes"):
        validate(recipe(parallel={"tensor": 2}), model, processes=3)


def test_pack_must_fit_the_models_positions(model: Path) -> None:
    with pytest.raises(ValueError, match=r"sequence_length=1024 is above the 512 positions"):
        validate(recipe(), model, prepare=PrepareConfig(sequence_length=1024))


def test_warm_up_must_end(model: Path, corpus: Path) -> None:
    with pytest.raises(ValueError, match=r"warmup_steps=50 is not below the 6 steps"):
        validate(recipe(optimizer={"warmup_steps": 50}), model, corpus=corpus)


def test_the_trainer_exits_with_2(
    tmp_path: Path, model: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = {"model": str(model), "corpus": str(corpus), "out": str(tmp_path), "train": {"threads": 0}}
    (tmp_path / "job.json").write_text(json.dumps(job))
    assert train.main(["--config", str(tmp_path / "job.json")]) == exit_codes.BAD_CONFIG
    assert "threads" in capsys.readouterr().err


def damaged(corpus: Path, out: Path, name: str, change: Callable[[bytes], bytes]) -> Path:
    """A copy of a corpus with one file changed."""
    shutil.copytree(corpus, out)
    (out / name).write_bytes(change((out / name).read_bytes()))
    return out


@pytest.mark.parametrize(
    ("name", "says"),
    [("tokens.bin", r"tokens.bin has \d+ bytes, but its index counts \d+"), ("packs.npz", ""), ("roles.idx", "")],
)
def test_a_damaged_corpus_is_refused(tmp_path: Path, model: Path, corpus: Path, name: str, says: str) -> None:
    broken = damaged(corpus, tmp_path / "corpus", name, lambda data: data[: len(data) // 2])
    with pytest.raises(ValueError, match=rf"corpus={broken}: cannot be read \(.*{says}.*\); prepare it again"):
        Corpus(broken)
    assert run_job(tmp_path / "run", model, broken, recipe()) == exit_codes.BAD_CONFIG
    assert "Traceback" not in (tmp_path / "run" / "log-0.txt").read_text()


def test_a_config_that_transformers_does_not_take_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "hidden_size": "wide"}))
    with pytest.raises(ValueError, match=r"cannot read its config.json \(.*\); fetch the model again"):
        ModelSpec.read(tmp_path)
    with pytest.raises(ValueError, match=r"cannot read its config.json"):
        validate(recipe(backend="deepspeed"), tmp_path / "nowhere")


def test_a_job_file_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (tmp_path, tmp_path / "nowhere.json"):
        assert train.main(["--config", str(path)]) == exit_codes.BAD_CONFIG
        assert "give the JSON file of a job" in capsys.readouterr().err


def test_a_weight_without_bound_is_no_weight() -> None:
    line = b'{"id": "a", "conversations": [{"role": "user", "content": "x", "weight": 1e999}]}\n'
    defect = parse(line)
    assert isinstance(defect, Unreadable) and "finite" in defect.detail


def test_former_names_of_keys_are_accepted_and_named_in_errors() -> None:
    former = {"proofs": ["leak"], "optimizer": {"clip": 0.5}, "guard": {"capsules": 2}}
    present = {"startup_checks": ["leak"], "optimizer": {"clip_grad": 0.5}, "guard": {"dumps": 2}}
    assert TrainConfig.model_validate(former) == TrainConfig.model_validate(present)
    with pytest.raises(ValidationError, match="clip is the former name of clip_grad"):
        TrainConfig.model_validate({"optimizer": {"clip": 0.5, "clip_grad": 1.0}})
    with pytest.raises(ValidationError, match=r"optimizer\.clip_grad"):
        TrainConfig.model_validate({"optimizer": {"clip": -1}})


@pytest.mark.parametrize(
    ("settings", "digest"),
    [
        ({}, "eb7665e20a6aaac3"),
        (
            {
                "optimizer": {"lr": 3e-3, "min_lr": 3e-4, "warmup_steps": 2, "weight_decay": 0.1, "clip": 0.5},
                "epochs": 2, "global_batch_packs": 4, "proofs": ["leak"], "precision": "bf16", "seed": 3,
            },
            "5003dfba0d0258e7",
        ),
        (
            {"global_batch_tokens": 4096, "z_loss": 1e-4, "new_tokens": "last_row", "backend": "deepspeed"},
            "fedfb3a3420dc108",
        ),
    ],
)  # fmt: skip
def test_the_digest_of_a_recipe_is_that_of_earlier_versions(settings: dict[str, Any], digest: str) -> None:
    """Expected values were computed before keys were renamed; checkpoints contain them."""
    assert recipe_digest(TrainConfig.model_validate(settings)) == digest


def test_a_start_reads_spec_and_vocabulary_once(
    tmp_path: Path, model: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = tmp_path / "calls"

    def counted(function: Any, name: str) -> Any:
        def counting(*arguments: Any) -> Any:
            with calls.open("a") as file:
                file.write(f"{name}\n")
            return function(*arguments)

        return counting

    monkeypatch.setattr(ModelSpec, "read", counted(ModelSpec.read, "spec"))
    monkeypatch.setattr(Vocabulary, "from_config", counted(Vocabulary.from_config, "vocabulary"))
    assert run_job(tmp_path / "run", model, corpus, recipe(stop_after_steps=1)) == exit_codes.STOPPED
    assert sorted(calls.read_text().split()) == ["spec", "vocabulary"]
