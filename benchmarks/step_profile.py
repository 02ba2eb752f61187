"""Where the time of a training step goes: this trainer, Megatron-Core as it comes, and a plain transformers loop.

Each trains the same packs from the same weights in a process of its own, since what they do to memory allocation would
help or harm the others, under torch's profiler; the table has milliseconds a step by kind of operation. "As it comes"
is this trainer without what it does about Megatron's overhead on a CPU: weight gradients added within the product,
freed memory kept, torch's fused AdamW. The profiler itself costs a few per cent, mostly where operations are small.

    python benchmarks/step_profile.py --model <HF folder> [--records records.jsonl] [--threads 2] [--steps 5]
    [--packs 1] [--json out]
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function
from train_throughput import SEQUENCE_LENGTH, Rival, parser_of, synthetic_records

from codeact_train import PrepareConfig, TrainConfig, TrainJob
from codeact_train.distributed import megatron_cpu, parallel_context
from codeact_train.model import gpt
from codeact_train.model.gpt import transformer_config
from codeact_train.prepare import prepare
from codeact_train.trainer import Trainer

KINDS = {  # the beginning of an operation's name, without "aten::": the kind
    ("mm", "addmm", "bmm", "linear", "matmul", "_grouped_mm"): "matrix products",
    ("_scaled_dot_product", "_flash_attention"): "attention",
    (
        "copy_",
        "clone",
        "cat",
        "fill_",
        "zero_",
        "contiguous",
        "empty",
        "index",
        "embedding",
        "gather",
    ): "moving numbers",
}
OTHER, UPDATE, PYTHON = "element-wise, norms, loss", "clipping and AdamW", "Python and dispatch"
ROWS = ("matrix products", "attention", OTHER, "moving numbers", UPDATE, PYTHON)
SUBJECTS = {"ours": "this trainer", "bare": "Megatron as it comes", "plain": "plain loop"}


def kind_of(name: str) -> str:
    """The kind of an operation of torch."""
    bare = name.removeprefix("aten::")
    return next((kind for names, kind in KINDS.items() if bare.startswith(names)), OTHER)


def milliseconds(step: Callable[[], object], steps: int) -> dict[str, float]:
    """Run a step so often under the profiler; returns milliseconds a step by kind, and of the whole."""
    began = time.perf_counter()
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        for _ in range(steps):
            step()
    whole = (time.perf_counter() - began) * 1e6
    spent: Counter[str] = Counter()
    for event in recorded.events():
        if event.name == UPDATE:
            spent[UPDATE] += event.cpu_time_total
        elif event.name.startswith("aten::") and not _within_update(event):
            spent[kind_of(event.name)] += event.self_cpu_time_total
    spent[PYTHON] = whole - sum(spent.values())
    return {kind: spent[kind] / steps / 1000 for kind in ROWS} | {"step": whole / steps / 1000}


def _within_update(event) -> bool:  # type: ignore[no-untyped-def]  # torch's event has no public type
    while event := event.cpu_parent:
        if event.name == UPDATE:
            return True
    return False


def subject(name: str, arguments: argparse.Namespace, folder: Path) -> Callable[[], object]:
    """A function that takes one step."""
    records = arguments.records or synthetic_records(folder / "records.jsonl", 40 * arguments.steps)
    settings = PrepareConfig(sequence_length=SEQUENCE_LENGTH, over_long="drop")
    prepare(records, arguments.model, folder / "corpus", settings)
    train = TrainConfig.model_validate(
        {"global_batch_packs": arguments.packs, "tensorboard": False, "optimizer": {"lr": 1e-5, "min_lr": 1e-5}}
    )
    job = TrainJob(model=str(arguments.model), corpus=str(folder / "corpus"), out=str(folder), train=train)
    if name != "ours":
        megatron_cpu._keep_freed_memory = lambda: None
        gpt.transformer_config = _without_fusion
    trainer = Trainer(job, parallel_context.initialize(train.parallel, train.seed))
    if name == "plain":
        return _plain(trainer, Rival(arguments.model, train, fused=False))
    if name == "bare":
        for group in trainer.state.optimizer.param_groups:  # type: ignore[attr-defined]
            group.update(fused=None, foreach=None)
    trainer.state.optimizer_step = record_function(UPDATE)(trainer.state.optimizer_step)  # type: ignore[method-assign]
    return trainer.train_step


def _without_fusion(*arguments: Any) -> Any:
    """Megatron's own way with weight gradients: a temporary, and a pass to add it."""
    config = transformer_config(*arguments)
    config.gradient_accumulation_fusion = False
    return config


def _plain(trainer: Trainer, rival: Rival) -> Callable[[], object]:
    numbers = iter(range(10**6))
    rival.update = record_function(UPDATE)(rival.update)  # type: ignore[method-assign]
    return lambda: rival.step(trainer.sampler.batch(next(numbers)).micro_batches)


def measure(name: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Profile one subject in this process."""
    logging.getLogger("megatron").setLevel(logging.WARNING)
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        step = subject(name, arguments, Path(folder))
        step()  # to warm up
        return milliseconds(step, arguments.steps)


def main() -> None:
    """Profile each in a process of its own and print the table."""
    parser = parser_of(__doc__, steps=5, packs=1)
    parser.add_argument("--only", choices=SUBJECTS, help="profile one, here, and print JSON")
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(measure(arguments.only, arguments)))
        return
    result = {}
    for name in SUBJECTS:
        done = subprocess.run([sys.executable, *sys.argv, "--only", name], stdout=subprocess.PIPE, check=True)
        result[name] = json.loads(done.stdout.splitlines()[-1])
    print(f"{'milliseconds a step':<28}" + "".join(f"{title:>24}" for title in SUBJECTS.values()))
    for row in (*ROWS, "step"):
        print(f"{row:<28}" + "".join(f"{result[name][row]:>24,.0f}" for name in SUBJECTS))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
