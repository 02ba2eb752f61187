"""A run folder as the loop would leave it, made from the documented forms alone: nothing is trained, nothing executed.

``make_run(path, seed=0, epochs=3, tasks=96)`` writes every file of ``docs/reference/files.md`` that the report reads,
the same bytes for the same seed. The numbers in it are drawn, not measured. It can be run to look at a report:
``python -m tests.helpers.example_run FOLDER``.
"""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from eval.results import BenchmarkRef, CheckpointRef, EpisodeResult, EvalResult, write_result
from rollout.bank.trajectory import (
    Message,
    Outcome,
    ProtocolRef,
    Reason,
    Sampling,
    TaskRef,
    Trajectory,
    Usage,
    digest_of,
    trajectory_id,
)
from tests.helpers.example_conversations import example_turns, hopeless_turns

ROLES = ("none", "system", "user", "assistant")
KINDS = ("table", "sql", "math", "tool")
PROTOCOL = ProtocolRef(name="codeact", digest="5f0c8a9e12d34b67")
SKILL = {"table": 0.93, "sql": 0.9, "math": 0.86, "tool": 0.8}
GROUP_PENALTY = {"trained": 0.0, "unseen_wording": 0.2, "unseen_tool": 0.3}


def make_run(path: Path, *, seed: int = 0, epochs: int = 3, tasks: int = 96, collected: int = 240) -> Path:
    """Writes a whole run folder and returns ``path``."""
    rng = random.Random(seed)
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.yaml").write_text(CONFIG.format(name=path.name, epochs=epochs))
    _write_json(path / "environment.json", ENVIRONMENT)
    kept = write_bank(path, rng, collected)
    write_metrics(path, rng, epochs)
    write_evaluations(path, rng, epochs, tasks)
    write_corpus(path, kept)
    return path


def trajectory(
    task: TaskRef, model: str, turns: list[Message], *, success: bool, reason: Reason, wall_s: float
) -> Trajectory:
    """A record whose usage is counted from its messages."""
    cells = [turn.cell for turn in turns if turn.cell]
    kinds = [turn.kind for turn in turns if turn.role == "assistant"]
    words = {
        role: sum(len(t.content) // 4 for t in turns if t.role == role) for role in ("system", "user", "assistant")
    }
    sampling = Sampling(max_tokens=160)
    return Trajectory(
        id=trajectory_id(task, model, sampling, PROTOCOL, 0),
        task=task,
        model=model,
        sampling=sampling,
        protocol=PROTOCOL,
        messages=tuple(turns),
        outcome=Outcome(success=success, reward=float(success), reason=reason),
        usage=Usage(
            steps=len(kinds),
            cells=len(cells),
            error_cells=sum(cell.status == "error" for cell in cells),
            proposals=kinds.count("proposal"),
            invalid=kinds.count("invalid"),
            prompt_tokens=(words["system"] + words["user"]) * max(1, len(kinds)) // 2,
            completion_tokens=words["assistant"],
        ),
        isolation="process",
        seed=0,
        started_at=f"2026-08-14T09:{rng_minute(task.id):02d}:00+00:00",
        wall_s=wall_s,
    )


def rng_minute(text: str) -> int:
    """A minute of the hour that only depends on ``text``."""
    return int(digest_of(text, 4), 16) % 60


def write_bank(path: Path, rng: random.Random, episodes: int) -> list[Trajectory]:
    """``bank/`` and ``selection.json``; returns the kept trajectories."""
    bank, kept, dropped = [], [], {"not_solved": 0, "duplicate": 0, "over_share_of_kind": 0}
    by_kind = {kind: {"input": 0, "kept": 0} for kind in KINDS}
    by_model = {model: {"episodes": 0, "successes": 0, "kept": 0} for model in ("expert", "base")}
    for index in range(episodes):
        kind, model = KINDS[index % 4], "base" if index % 6 == 5 else "expert"
        task = TaskRef(
            family="builtin", kind=kind, split="train", group="trained", id=f"{kind}-{index}", digest=digest_of(index)
        )
        solved = rng.random() < (0.03 if model == "base" else 0.985)
        turns = example_turns(kind, index, rng, error=index % 3 == 0) if solved else hopeless_turns(kind, index, rng)
        reason: Reason = "solved" if solved else rng.choice(["max_invalid", "wrong_answer", "max_steps"])
        bank.append(trajectory(task, model, turns, success=solved, reason=reason, wall_s=0.4 + rng.random()))
        why = "not_solved" if not solved else "duplicate" if index % 29 == 7 else None
        by_kind[kind]["input"] += 1
        by_model[model]["episodes"] += 1
        by_model[model]["successes"] += solved
        if why:
            dropped[why] += 1
        else:
            kept.append(bank[-1])
            by_kind[kind]["kept"] += 1
            by_model[model]["kept"] += 1
    _write_lines(path / "bank" / "shard-000.jsonl", [one.model_dump_json() for one in bank])
    selection = {"input": episodes, "kept": len(kept), "dropped": dropped, "by_kind": by_kind, "by_model": by_model}
    _write_json(path / "selection.json", selection)
    return kept


def write_metrics(path: Path, rng: random.Random, epochs: int, steps_per_epoch: int = 18) -> None:
    """``train/metrics.jsonl``: an exponential fall with noise, linear warm-up and cosine decay."""
    lines: list[dict[str, Any]] = [{"kind": "start", "step": 0}]
    total = epochs * steps_per_epoch
    for step in range(1, total + 1):
        loss = 0.12 + 1.5 * math.exp(-step / 7) + rng.gauss(0, 0.02)
        lr = 2e-4 * (step / 4 if step <= 4 else 0.1 + 0.45 * (1 + math.cos(math.pi * (step - 4) / (total - 4))))
        real = rng.randint(7900, 8150)
        line = {"kind": "step", "step": step, "epoch": step / steps_per_epoch, "loss": abs(loss), "lr": lr}
        line |= {"grad_norm": 0.5 + rng.random(), "slots": 8192, "real_tokens": real, "trained_tokens": real * 2 // 5}
        line |= {"step_s": 36 + 3 * rng.random(), "data_wait_s": 0.01, "time": f"2026-08-14T10:{step % 60:02d}:00Z"}
        lines.append(line)
        if step % steps_per_epoch == 0:
            epoch = step // steps_per_epoch
            lines.append({"kind": "validation", "step": step, "loss": 0.15 + 0.2 / epoch, "trained_tokens": 4100})
            lines.append({"kind": "checkpoint", "step": step, "path": f"train/checkpoints/step-{step:06d}"})
            export = {"kind": "export", "step": step, "epoch": epoch, "path": f"train/exports/epoch-{epoch}"}
            lines.append(export | {"digest": digest_of(["weights", epoch])})
    _write_lines(path / "train" / "metrics.jsonl", [json.dumps(line) for line in lines])


def write_evaluations(path: Path, rng: random.Random, epochs: int, tasks: int) -> None:
    """``eval/bank`` and ``eval/results``: base and every epoch over the same tasks."""
    chosen = [_eval_task(index, tasks) for index in range(tasks)]
    luck = [rng.random() for _ in chosen]
    shards: list[str] = []
    for epoch in range(epochs + 1):
        model = digest_of(["weights", epoch])
        share = 0.02 if epoch == 0 else 1 - 0.25 / epoch**1.3
        done = []
        for index, task in enumerate(chosen):
            hope = share * (SKILL[task.kind] - GROUP_PENALTY[task.group]) if epoch else share
            solved = 0.85 * luck[index] + 0.15 * rng.random() < hope
            turns = (
                example_turns(task.kind, index, rng, error=index % 4 == 1)
                if solved
                else hopeless_turns(task.kind, index, rng, tags=epoch > 0)
            )
            reason: Reason = (
                "solved" if solved else ("wrong_answer" if epoch else rng.choice(["max_invalid", "max_steps"]))
            )
            done.append(trajectory(task, model, turns, success=solved, reason=reason, wall_s=2 + 6 * rng.random()))
        shards += [one.model_dump_json() for one in done]
        name = f"epoch-{epoch}" if epoch else "base"
        result = EvalResult(
            checkpoint=CheckpointRef(name=name, digest=model, epoch=epoch, path=f"train/exports/{name}"),
            benchmark=BenchmarkRef(name="drawn-not-run", digest=digest_of(tasks), tasks=tasks),
            protocol=PROTOCOL,
            sampling=Sampling(max_tokens=160),
            seed=0,
            engine={"name": "openvino-genai", "version": "2026.4", "precision": "f16", "threads": 2},
            isolation="process",
            started_at=f"2026-08-14T1{epoch}:00:00+00:00",
            wall_s=sum(one.wall_s for one in done) / 8,
            episodes=tuple(EpisodeResult.from_trajectory(one) for one in done),
        )
        write_result(path / "eval" / "results", result)
    _write_lines(path / "eval" / "bank" / "shard-000.jsonl", shards)


def _eval_task(index: int, tasks: int) -> TaskRef:
    kind = KINDS[index % 4]
    group = "unseen_tool" if kind == "tool" and index % 8 == 3 else "unseen_wording" if index % 6 == 2 else "trained"
    return TaskRef(
        family="builtin",
        kind=kind,
        split="held_out",
        group=group,
        id=f"held-out-{kind}-{index}",
        digest=digest_of(index),
    )


def write_corpus(path: Path, kept: list[Trajectory], length: int = 4096) -> None:
    """``corpus/``: tokens, roles and weights as Megatron writes them, over a byte-level tokenizer without merges."""
    import numpy as np
    import torch
    from megatron.core.datasets.indexed_dataset import IndexedDatasetBuilder

    folder = path / "corpus"
    (folder / "tokenizer").mkdir(parents=True, exist_ok=True)
    tokenizer = _byte_tokenizer()
    tokenizer.save(str(folder / "tokenizer" / "tokenizer.json"))
    builders = {
        name: IndexedDatasetBuilder(str(folder / f"{name}.bin"), dtype=dtype)
        for name, dtype in (("tokens", np.int32), ("roles", np.uint8), ("weights", np.float32))
    }
    names, half = [], {"documents": len(kept), "tokens": 0, "trained": 0, "packs": 0}
    by_role = dict.fromkeys(ROLES, 0)
    for one in kept:
        columns: dict[str, Any] = dict(zip(builders, _document(one, tokenizer), strict=True))
        for name, values in columns.items():
            builders[name].add_item(torch.tensor(values))
            builders[name].end_document()
        for code, role in enumerate(ROLES):
            by_role[role] += columns["roles"].count(code)
        half["tokens"] += len(columns["tokens"])
        half["trained"] += sum(weight > 0 for weight in columns["weights"])
        names.append(json.dumps({"id": one.id, "source": one.task.family, "split": "train"}))
    for name, builder in builders.items():
        builder.finalize(str(folder / f"{name}.idx"))
    _write_lines(folder / "documents.jsonl", names)
    write_ledger(folder, half, by_role, length)


def _byte_tokenizer() -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={char: i for i, char in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in ("<|im_start|>", "<|im_end|>")])
    return tokenizer


def _document(one: Trajectory, tokenizer: Tokenizer) -> tuple[list[int], list[int], list[float]]:
    ids: list[int] = []
    roles: list[int] = []
    weights: list[float] = []
    for message in one.messages:
        mine = message.role == "assistant"
        parts = ((f"<|im_start|>{message.role}\n", False), (f"{message.content}<|im_end|>", True), ("\n", False))
        for text, inside in parts:
            new = tokenizer.encode(text).ids
            ids += new
            roles += [ROLES.index(message.role) if inside else 0] * len(new)
            weights += [float(mine and inside)] * len(new)
    return ids, roles, weights


def write_ledger(folder: Path, half: dict[str, int], by_role: dict[str, int], length: int) -> None:
    """``corpus.json`` and ``ledger.json``, with one unreadable record; its sums balance."""
    filled = half["tokens"] - half["documents"]
    packs = filled // length + 3
    slots = packs * length
    train = half | {"by_role": by_role, "packs": packs, "slots": slots, "filled": filled, "padding": slots - filled}
    empty = dict.fromkeys(half, 0) | {"by_role": {}, "slots": 0, "filled": 0, "padding": 0}
    sources = {"builtin": {"records": half["documents"], **{k: half[k] for k in ("documents", "tokens", "trained")}}}
    ledger: dict[str, Any] = {
        "records_read": half["documents"] + 1,
        "records_kept": half["documents"],
        "dropped": {"unreadable": 1},
        "dropped_records": [{"line": 7, "id": None, "reason": "unreadable", "detail": "not JSON"}],
        "records_split": 0,
        "documents_from_splits": 0,
        "tokens_read": half["tokens"],
        "tokens_dropped": {},
        "tokens_repeated": 0,
        "tokens_added": 0,
        "control_text": 0,
        "sources": sources,
        "train": train,
        "validation": empty,
    }
    _write_json(folder / "ledger.json", ledger)
    manifest = {"schema": 3, "digest": digest_of(ledger), "sequence_length": length}
    _write_json(folder / "corpus.json", manifest | {"packing": "best_fit_decreasing", "imitates": []})


def _write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1) + "\n")


def _write_lines(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


CONFIG = """\
name: {name}
model: HuggingFaceTB/SmolLM2-135M-Instruct
tasks:
  family: builtin
  held_out: 96
train:
  epochs: {epochs}
  global_batch_packs: 8
  optimizer: {{lr: 0.0002, min_lr: 0.00002, warmup_steps: 4}}
seed: 0
"""
ENVIRONMENT = {
    "command": "tests/eval/make_run.py: numbers drawn, nothing run",
    "machine": {"cpu": "a CPU with 2 cores", "memory_gib": 24, "system": "Linux 6.1"},
    "threads": {"OMP_NUM_THREADS": 2},
    "versions": {"python": "3.11", "torch": "2.13.0", "megatron-core": "0.16.1", "ray": "2.60.0"},
}

if __name__ == "__main__":
    import sys

    print(make_run(Path(sys.argv[1])))
