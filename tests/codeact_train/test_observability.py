"""What a run says of itself: the same in every layout, figures that add up, dumps of what went wrong."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from codeact_train.backends.megatron import forward_backward
from codeact_train.config.prepare import PrepareConfig
from codeact_train.data.corpus import Corpus
from codeact_train.data.document import ROLES
from codeact_train.observability import trackers
from codeact_train.observability.anomaly_dump import AnomalyDump
from codeact_train.parity import replay
from codeact_train.prepare import prepare
from codeact_train.system.exit_codes import BAD_CONFIG, CORRUPT_STATE, STOPPED
from tests.helpers.records import write_conversations
from tests.helpers.runs import flops, gradient_is_not_finite, outcome
from tests.helpers.training import events, recipe, run_job, start_job

POISON = "Z"  # a letter of one record only; its embedding is not a number
ONE_STEP_AN_EPOCH = {"global_batch_packs": 99, "optimizer": {"lr": 3e-3}, "peak_tflops": 1.0, "startup_checks": ()}


@pytest.fixture(scope="module")
def talkative(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Path:
    """A corpus that trains the user's words too, at a third of the weight."""
    folder = tmp_path_factory.mktemp("talkative")
    texts = ["count the crates by the river", "one crate two bolts"] * 2
    records = write_conversations(folder / "r.jsonl", {f"r{i}": [*texts, texts[0] * i] for i in range(1, 9)})
    weights = {"user": 0.33, "assistant": 1.0}
    prepare(records, model, folder / "corpus", PrepareConfig(sequence_length=320, role_weights=weights))
    return folder / "corpus"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, model: Path, talkative: Path) -> Path:
    out = tmp_path_factory.mktemp("whole")
    assert run_job(out, model, talkative, recipe(**ONE_STEP_AN_EPOCH, tensorboard=True)) == 0
    return out


def test_loss_and_accuracy_by_role_are_those_of_transformers(whole: Path, model: Path, talkative: Path) -> None:
    corpus, plain = Corpus(talkative), AutoModelForCausalLM.from_pretrained(model).eval()
    first = events(whole, "step")[0]
    documents = [corpus.document(i) for i in range(len(corpus))]  # all of them are one step
    sums = {role: np.zeros(4) for role in ("user", "assistant")}
    for document in documents:
        ids = torch.from_numpy(document.ids.astype(np.int64))
        with torch.no_grad():
            logits = plain(ids[None]).logits[0, :-1]
        losses = torch.nn.functional.cross_entropy(logits, ids[1:], reduction="none").numpy()
        hits = (logits.argmax(1) == ids[1:]).numpy()
        for role, own in sums.items():
            weights = document.weights[1:] * (document.roles[1:] == ROLES[role])
            own += [(losses * weights).sum(), weights.sum(), hits[weights > 0].sum(), (weights > 0).sum()]
    assert set(first["roles"]) == set(sums)
    for role, (loss, weight, hit, tokens) in sums.items():
        logged = first["roles"][role]
        assert logged["loss"] == pytest.approx(loss / weight, rel=1e-5)
        assert (logged["accuracy"], logged["tokens"]) == (hit / tokens, tokens)


@pytest.mark.parametrize(
    ("parallel", "world"),
    [({"tensor": 2, "sequence_parallel": True}, 2), ({"pipeline": 2}, 2), ({"context": 2}, 2), ({}, 2)],
    ids=["tensor", "pipeline", "context", "data"],
)
def test_every_layout_logs_the_same(
    tmp_path: Path, model: Path, talkative: Path, whole: Path, parallel: dict[str, Any], world: int
) -> None:
    job = recipe(**ONE_STEP_AN_EPOCH, parallel=parallel)
    assert run_job(tmp_path, model, talkative, job, world=world) == 0
    for own, other in zip(events(tmp_path, "step"), events(whole, "step"), strict=True):
        for role, logged in other["roles"].items():
            assert own["roles"][role] == {**logged, "loss": pytest.approx(logged["loss"], rel=1e-5)}
        assert own["accuracy"] == other["accuracy"]
        assert flops(own) * world == pytest.approx(flops(other), rel=1e-3)  # a share of so many processes' peak


def test_utilisation_is_the_formula_it_prints(whole: Path, talkative: Path) -> None:
    corpus, (step, *_) = Corpus(talkative), events(whole, "step")
    lengths = corpus.lengths - 1
    keys = int((lengths * (lengths + 1) // 2).sum())
    matrices = 2 * (64 * (64 + 2 * 32 + 64) + 3 * 64 * 160)
    operations = 6 * (matrices * int(lengths.sum()) + 301 * 64 * step["trained_tokens"]) + 12 * 2 * 64 * keys
    assert step["mfu"] == pytest.approx(operations / step["step_s"] / 1e12, rel=1e-3, abs=1e-6)
    said = " ".join((whole / "log-0.txt").read_text().split())
    assert f"6 * ({matrices:,} * real tokens + {301 * 64:,} * trained tokens) + {12 * 2 * 64:,} * keys seen" in said


def test_rates_are_counts_over_time(whole: Path) -> None:
    for step in events(whole, "step"):
        for name in ("slots", "real_tokens", "trained_tokens"):
            assert step[f"{name}_per_s"] == pytest.approx(step[name] / step["step_s"], rel=1e-3)
        assert step["slots"] >= step["real_tokens"] > step["trained_tokens"] > 0
        assert step["memory_gib"] > 0


def test_curves_go_to_tensorboard(whole: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(whole / "tensorboard"))
    board.Reload()
    points = [point.value for point in board.Scalars("step/roles/user/loss")]
    assert points == pytest.approx([step["roles"]["user"]["loss"] for step in events(whole, "step")], rel=1e-6)
    assert {"step/mfu", "step/trained_tokens_per_s", "step/lr"} <= set(board.Tags()["scalars"])


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_tracker_that_is_not_installed_is_refused(
    tmp_path: Path, model: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    assert run_job(tmp_path, model, corpus, recipe(**{name: "agents"})) == BAD_CONFIG
    assert f"{name} is not installed; pip install {name}" in (tmp_path / "log-0.txt").read_text()


def no_login(**_: Any) -> None:
    raise RuntimeError("No API key configured. Use `wandb login` to log in.")


def test_a_tracker_that_cannot_start_is_reported_once_and_training_goes_on(
    tmp_path: Path, model: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = ModuleType("wandb")
    monkeypatch.setattr(fake, "init", no_login, raising=False)
    monkeypatch.setattr(fake, "Settings", dict, raising=False)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    (tmp_path / "tensorboard").write_text("a file where a folder is needed")
    assert run_job(tmp_path, model, corpus, recipe(wandb="agents", tensorboard=True, stop_after_steps=2)) == STOPPED
    said = (tmp_path / "log-0.txt").read_text()
    assert said.count("warning: ") == 2 and "Traceback" not in said
    assert "warning: Weights & Biases did not start; training and metrics.jsonl go on: RuntimeError: No API key" in said
    assert "warning: TensorBoard did not start" in said
    assert [step["step"] for step in events(tmp_path, "step")] == [1, 2]


def test_mlflow_gets_a_step_in_one_call_and_its_outage_is_reported_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = []

    class Client:
        create_run = lambda self, where, **_: SimpleNamespace(info=SimpleNamespace(run_id="r"))  # noqa: E731
        get_experiment_by_name = lambda self, name: SimpleNamespace(experiment_id="e")  # noqa: E731

        def search_runs(self, *_: Any) -> list[Any]:
            return []

        def log_batch(self, run: Any, metrics: Any) -> None:
            calls.append([(name, value, step) for name, value, _, step in metrics])
            if len(calls) == 2:
                raise ConnectionError("no answer")

    monkeypatch.setitem(sys.modules, "mlflow", SimpleNamespace(MlflowClient=Client))
    monkeypatch.setitem(sys.modules, "mlflow.entities", SimpleNamespace(Metric=lambda *values: values))
    (tracker,) = trackers.build_trackers(recipe(mlflow="agents"), tmp_path, 0)
    for step in (1, 2, 3):
        tracker.add(step, {"loss": 2.0, "lr": 1.0})
    tracker.close()
    assert calls == [[("loss", 2.0, step), ("lr", 1.0, step)] for step in (1, 2)]
    assert capsys.readouterr().err == (
        "warning: MLflow failed and is switched off; training and metrics.jsonl go on: ConnectionError: no answer\n"
    )


def test_a_window_is_profiled(tmp_path: Path, model: Path, corpus: Path) -> None:
    assert (
        run_job(tmp_path, model, corpus, recipe(stop_after_steps=3, profile={"first_step": 2, "steps": 1})) == STOPPED
    )
    trace = json.loads((tmp_path / "profile" / "steps-2-2-rank-0.json").read_text())
    assert any("aten::" in event["name"] for event in trace["traceEvents"])
    assert "aten::" in (tmp_path / "profile" / "steps-2-2-rank-0.txt").read_text()


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory: pytest.TempPathFactory, untied_model: Path) -> tuple[Path, Path]:
    """A model and a corpus of which one record makes the loss NaN; and the step that trains it."""
    folder = tmp_path_factory.mktemp("poisoned")
    model = shutil.copytree(untied_model, folder / "model")
    letter = AutoTokenizer.from_pretrained(model).convert_tokens_to_ids(POISON)
    weights = load_file(model / "model.safetensors")
    weights["model.embed_tokens.weight"][letter] = torch.nan
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    texts = {f"r{i}": ["crate " * (4 + i), "bolt " * 60] for i in range(12)} | {"bad": [POISON, "bolt " * 60]}
    records = write_conversations(folder / "r.jsonl", texts)
    prepare(records, model, folder / "corpus", PrepareConfig(sequence_length=320))
    return model, folder / "corpus"


def guarded(**settings: Any) -> Any:
    """For two processes that share an optimizer, because one process replays what they did."""
    settings = {"spike": None, **settings}
    return recipe(
        epochs=1, global_batch_packs=2, startup_checks=(), guard=settings, seed=4, checkpoint={"keep": 99},
        parallel={"distributed_optimizer": True},
    )  # fmt: skip


def ended(out: Path, model: Path, corpus: Path, job: Any) -> Any:
    processes = start_job(out, model, corpus, job, world=2)
    for process in processes:
        process.join(timeout=240)
    return processes[0].exitcode


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory, poisoned: tuple[Path, Path]) -> Path:
    """A job that met the record."""
    out = tmp_path_factory.mktemp("broken")
    assert ended(out, *poisoned, guarded()) == CORRUPT_STATE
    return out


def test_a_step_that_is_not_finite_ends_the_job_with_the_step_before_saved(broken: Path) -> None:
    (anomaly,) = events(broken, "anomaly")
    dump = json.loads((broken / anomaly["dump"] / "dump.json").read_text())
    steps = [event["step"] for event in events(broken, "step")]
    assert dump["step"] == anomaly["at"] == len(steps) + 1 > 1
    assert "bad" in [document["id"] for document in dump["documents"]]
    assert (broken / "checkpoints" / "latest").read_text() == f"step-{steps[-1]:06}"
    assert f"python -m codeact_train.parity.replay {broken / anomaly['dump']}\n" in (broken / "log-0.txt").read_text()
    assert f"add {dump['step']} to guard.skip_steps" in (broken / "log-0.txt").read_text()


def test_a_dumped_step_is_computed_again(broken: Path) -> None:
    (folder,) = (broken / "anomalies").iterdir()
    again = subprocess.run(
        [sys.executable, "-m", "codeact_train.parity.replay", str(folder)], capture_output=True, text=True, timeout=240
    )
    assert again.returncode == CORRUPT_STATE, again.stderr
    assert "record bad of" in again.stdout
    assert again.stdout.count(", record ") == 1
    assert "not finite again" in again.stdout


def test_a_dump_of_an_earlier_version_can_be_read(tmp_path: Path) -> None:
    content: dict[str, Any] = {
        "schema": 1, "step": 12, "reason": "spike", "loss": "9.5", "grad_norm": "3.0", "median_loss": 1.0,
        "median_norm": 1.0, "packs": [3], "documents": [{"index": 4, "id": "a", "source": "s", "split": "train"}],
        "left_out": [7], "processes": 2, "time": 0.0, "job": {},
    }  # fmt: skip
    (tmp_path / "capsule.json").write_text(json.dumps(content))
    dump = AnomalyDump.read(tmp_path)
    assert (dump.step, dump.skipped) == (12, [7])


def test_a_folder_without_a_dump_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert replay.main([str(tmp_path)]) == BAD_CONFIG
    assert capsys.readouterr().err == (
        f"replay: dump={tmp_path}: no dump.json there; name a folder under <train folder>/anomalies\n"
    )


def test_a_step_is_skipped_by_itself_or_by_name_and_over_a_resume(
    tmp_path: Path, poisoned: tuple[Path, Path], broken: Path
) -> None:
    bad = events(broken, "anomaly")[0]["at"]
    assert run_job(tmp_path / "limit", *poisoned, guarded(skip_limit=1), world=2) == 0
    assert [event["step"] for event in events(tmp_path / "limit", "skip")] == [bad]
    assert run_job(tmp_path / "named", *poisoned, guarded(skip_steps=(bad,)), world=2) == 0
    shutil.copytree(broken, tmp_path / "resumed")
    assert run_job(tmp_path / "resumed", *poisoned, guarded(skip_steps=(bad,)), world=2) == 0
    assert outcome(tmp_path / "limit") == outcome(tmp_path / "named") == outcome(tmp_path / "resumed")
    newest = (tmp_path / "limit" / "checkpoints" / "latest").read_text()
    meta = json.loads((tmp_path / "limit" / "checkpoints" / newest / "meta.json").read_text())
    assert meta["guard"]["left_out"] == [bad]


def test_a_gradient_that_is_not_finite_is_not_taken(
    tmp_path: Path, model: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"epochs": 1, "startup_checks": ()}
    assert run_job(tmp_path / "named", model, corpus, recipe(**settings, guard={"skip_steps": [2]})) == 0
    gradient_is_not_finite(monkeypatch, forward_backward, at=2)
    assert run_job(tmp_path / "met", model, corpus, recipe(**settings, guard={"skip_limit": 1})) == 0
    assert [anomaly["at"] for anomaly in events(tmp_path / "met", "anomaly")] == [2]
    (stopped,) = start_job(tmp_path / "stopped", model, corpus, recipe(**settings))
    stopped.join(timeout=240)
    assert stopped.exitcode == CORRUPT_STATE
    assert (tmp_path / "stopped" / "checkpoints" / "latest").read_text() == "step-000001"
    assert outcome(tmp_path / "met") == outcome(tmp_path / "named")


def test_a_spike_is_dumped_and_training_goes_on(tmp_path: Path, model: Path, corpus: Path) -> None:
    """With a threshold just above the median, half of the steps are spikes; only the first two are dumped."""
    job = recipe(epochs=6, guard={"spike": 1.001, "dumps": 2}, optimizer={"lr": 1e-6, "min_lr": 1e-6})
    assert run_job(tmp_path, model, corpus, job) == 0
    anomalies = events(tmp_path, "anomaly")
    assert len(anomalies) > 2 and {anomaly["reason"] for anomaly in anomalies} == {"spike"}
    assert ["dump" in anomaly for anomaly in anomalies] == [True] * 2 + [False] * (len(anomalies) - 2)
    assert len(list((tmp_path / "anomalies").iterdir())) == 2
    assert len(events(tmp_path, "step")) == 18
    assert min(anomaly["at"] for anomaly in anomalies) > 8
