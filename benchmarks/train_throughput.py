"""Real training tokens per second: this trainer against a plain transformers + AdamW loop, in one run.

Both train the same model from the same weights on the same packs, on the same threads, step about; the losses of each
step are printed side by side, so that nobody is fast by computing something else. The rival is what its documentation
suggests: packed sequences told apart by ``position_ids``, labels of -100 where nothing is trained,
``torch.optim.AdamW``, gradient clipping, packs one at a time.

    python benchmarks/train_throughput.py --model <HF folder> [--records records.jsonl] [--threads 2] [--steps 4]
    [--json out]
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from codeact_train import PrepareConfig, TrainConfig, TrainJob
from codeact_train.data.collate import MicroBatch
from codeact_train.distributed import parallel_context
from codeact_train.prepare import prepare
from codeact_train.trainer import Trainer

SEQUENCE_LENGTH = 1024
WARM_UP_STEPS = 1
TARGET = 1.15
"""Real tokens per second, ours over the rival's."""
LOSS_TOLERANCE = 1e-4
"""Largest difference of a step's loss, in nats: both must be doing the same work."""


class Rival:
    """The plain loop."""

    def __init__(self, folder: Path, train: TrainConfig, fused: bool):
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        self.model.config.use_cache = False
        settings = train.optimizer
        self.clip_grad = settings.clip_grad
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=settings.lr, betas=(settings.beta1, settings.beta2), eps=settings.eps,
            weight_decay=settings.weight_decay, fused=fused or None,
        )  # fmt: skip

    def step(self, micro_batches: list[MicroBatch]) -> float:
        """One optimizer step; returns the mean loss of its trained tokens."""
        total_weight = sum(float(m.weights.sum()) for m in micro_batches)
        total = 0.0
        for micro in micro_batches:
            labels = torch.full_like(micro.tokens, -100)
            labels[0, micro.trained] = micro.labels
            logits = self.model(input_ids=micro.tokens, position_ids=micro.positions[None]).logits
            loss = (
                torch.nn.functional.cross_entropy(logits[0], labels[0], ignore_index=-100, reduction="sum")
                / total_weight
            )
            loss.backward()
            total += loss.item()
        self.update()
        return total

    def update(self) -> None:
        """Clip and step."""
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_grad)
        self.optimizer.step()
        self.optimizer.zero_grad()


def synthetic_records(path: Path, count: int) -> Path:
    """Conversations of a few hundred tokens, about a third of them the assistant's."""
    rng = random.Random(0)
    words = ["rain", "valley", "driver", "waits", "crate", "bolt", "stone", "all", "day", "in", "the", "of", "and"]
    with path.open("w") as file:
        for number in range(count):
            turns: list[dict[str, str]] = [
                {"role": "user", "content": " ".join(rng.choices(words, k=rng.randint(60, 160)))}
            ]
            for _ in range(rng.randint(2, 5)):
                code = "\n".join(
                    f"x{i} = {rng.randint(2, 999)} * {rng.randint(2, 999)}" for i in range(rng.randint(2, 4))
                )
                turns.append({"role": "assistant", "content": f"<execute>\n{code}\nprint(x0)\n</execute>"})
                turns.append({"role": "user", "content": "Observation:\n" + " ".join(rng.choices(words, k=30))})
            turns.append({"role": "assistant", "content": f"<solution>{rng.randint(1, 999)}</solution>"})
            file.write(json.dumps({"id": str(number), "conversations": turns}) + "\n")
    return path


def run(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Alternate steps of both and return what was measured."""
    records = arguments.records or synthetic_records(folder / "records.jsonl", 40 * arguments.steps)
    prepare(
        records, arguments.model, folder / "corpus", PrepareConfig(sequence_length=SEQUENCE_LENGTH, over_long="drop")
    )
    train = TrainConfig.model_validate(
        {"global_batch_packs": arguments.packs, "tensorboard": False, "optimizer": {"lr": 1e-5, "min_lr": 1e-5}}
    )
    job = TrainJob(model=str(arguments.model), corpus=str(folder / "corpus"), out=str(folder), train=train)
    ctx = parallel_context.initialize(train.parallel, train.seed)
    ours, rival = Trainer(job, ctx), Rival(arguments.model, train, arguments.fused_rival)
    seconds, tokens, losses, pairs = {"ours": 0.0, "rival": 0.0}, 0, [], []
    processor = {"ours": 0.0, "rival": 0.0}
    for number in range(WARM_UP_STEPS + arguments.steps):
        micro = ours.sampler.batch(number).micro_batches
        began, began_cpu = time.perf_counter(), time.process_time()
        loss_ours = ours.train_step()
        between, between_cpu = time.perf_counter(), time.process_time()
        loss_rival = rival.step(micro)
        ended, ended_cpu = time.perf_counter(), time.process_time()
        losses.append((loss_ours, loss_rival))
        print(f"step {number}: loss {loss_ours:.5f} / {loss_rival:.5f}, "
              f"{between - began:.2f} / {ended - between:.2f} s", file=sys.stderr)  # fmt: skip
        if number >= WARM_UP_STEPS:
            seconds["ours"] += between - began
            seconds["rival"] += ended - between
            processor["ours"] += between_cpu - began_cpu
            processor["rival"] += ended_cpu - between_cpu
            pairs.append((ended - between) / (between - began))
            tokens += sum(m.real for m in micro)
    trained = sum(int((m.weights > 0).sum()) for m in micro) / sum(m.real for m in micro)
    rates = {name: tokens / spent for name, spent in seconds.items()}
    return {
        "real_tokens_per_s": rates,
        "ratio": rates["ours"] / rates["rival"],
        "ratio_median_of_steps": statistics.median(pairs),
        "ratio_of_processor_time": processor["rival"] / processor["ours"],
        "real_tokens": tokens,
        "trained_share_last_step": trained,
        "threads": torch.get_num_threads(),
        "rival": "transformers + torch.optim.AdamW" + (" (fused)" if arguments.fused_rival else ""),
        "largest_loss_difference": max(abs(a - b) for a, b in losses),
    }


def parser_of(description: str | None, steps: int, packs: int) -> argparse.ArgumentParser:
    """The options every benchmark of a training step has, with its own defaults."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="Hugging Face folder")
    parser.add_argument("--records", type=Path, help="training records; synthetic ones when absent")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=steps, help="measured steps of each, after one to warm up")
    parser.add_argument("--packs", type=int, default=packs, help="packs of 1,024 slots a step")
    parser.add_argument("--json", type=Path, help="write the result here too")
    return parser


def main() -> None:
    """Parse, measure, print; exit code 1 when the ratio is below the target or the losses are not the same."""
    parser = parser_of(__doc__, steps=4, packs=2)
    parser.add_argument("--fused-rival", action="store_true", help="give the rival torch's fused AdamW")
    arguments = parser.parse_args()
    logging.getLogger("megatron").setLevel(logging.WARNING)
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        result = run(arguments, Path(folder))
    text = json.dumps(result, indent=1)
    if arguments.json:
        arguments.json.write_text(text + "\n")
    print(text)
    if result["ratio"] < TARGET or result["largest_loss_difference"] > LOSS_TOLERANCE:
        sys.exit(f"missed: a ratio of {TARGET} or more, losses within {LOSS_TOLERANCE}")


if __name__ == "__main__":
    main()
