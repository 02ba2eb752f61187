"""Memory and time of weights going from a Hugging Face folder into the trainer and back.

A random Llama is written, loaded and exported in several layouts, each in fresh processes, and by transformers' own
``from_pretrained`` and ``save_pretrained``. Reported is the most anonymous memory a process has had beyond its share of
the weights, during the load and during the export; pages of the mapped files, which the kernel takes back when it needs
them, are no part of it. Every export is compared with what went in.

    python benchmarks/conversion.py [--hidden 1024] [--layers 16] [--dtype fp32]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from transformers import AutoModelForCausalLM, LlamaConfig
from transformers.utils.logging import disable_progress_bar

LAYOUTS = {
    "one process": {},
    "TP2": {"tensor": 2},
    "PP2": {"pipeline": 2},
    "TP2 PP2": {"tensor": 2, "pipeline": 2},
}
MB = 1e6


class Peak:
    """The most anonymous memory of this process while the block runs, over what it had when this was made."""

    def __init__(self) -> None:
        self.before = self.most = _anonymous()

    def during(self, work: Callable[[], Any]) -> tuple[float, float]:
        """Megabytes over the beginning, and seconds."""
        self.most, over = _anonymous(), threading.Event()
        watcher = threading.Thread(target=self._watch, args=(over,))
        watcher.start()
        began = time.monotonic()
        work()
        took = time.monotonic() - began
        over.set()
        watcher.join()
        return (self.most - self.before) / MB, took

    def _watch(self, over: threading.Event) -> None:
        while not over.wait(0.002):
            self.most = max(self.most, _anonymous())


def _anonymous() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    raise OSError("no RssAnon in /proc/self/status: this needs Linux")


def ours(model: Path, out: Path, layout: dict[str, int], dtype: str) -> dict[str, Any] | None:
    """Load and export in this process's part of the layout; the figures of the process that has most."""
    from codeact_train import ModelSpec, TrainConfig, hf
    from codeact_train.distributed import parallel_context
    from codeact_train.model.gpt import DTYPES, build

    train = TrainConfig.model_validate({"parallel": layout, "precision": dtype})
    ctx = parallel_context.initialize(train.parallel, 0)
    spec = ModelSpec.read(model)
    peak = Peak()
    built = build(spec, train, ctx.device)
    weights = sum(p.nbytes for p in built.parameters()) / MB

    def load() -> None:
        with hf.SafeTensors(model) as tensors:
            hf.load(built, spec, tensors)

    def export() -> None:
        tensors = hf.gather(built, spec)
        if ctx.is_main:
            out.mkdir()
            hf.write(out, tensors, hf.tensor_shapes(spec), DTYPES[dtype], 5 * 2**30)
        for _ in tensors:
            pass

    loaded, export_peak = peak.during(load), peak.during(export)
    mine = [weights, loaded[0] - weights, export_peak[0] - weights]
    every: list[Any] = [None] * ctx.world
    dist.all_gather_object(every, mine)
    most = [max(column) for column in zip(*every, strict=True)]
    parallel_context.destroy()
    keys = ("weights_mb", "load_beside_mb", "export_beside_mb")
    seconds = {"load_s": loaded[1], "export_s": export_peak[1]}
    return {**dict(zip(keys, most, strict=True)), **seconds} if ctx.is_main else None


def theirs(model: Path, out: Path, dtype: str) -> dict[str, Any]:
    """The same by transformers."""
    disable_progress_bar()
    peak, held = Peak(), {}
    kind = {"fp32": torch.float32, "bf16": torch.bfloat16}[dtype]
    loaded = peak.during(lambda: held.update(model=AutoModelForCausalLM.from_pretrained(model, dtype=kind)))
    weights = sum(p.nbytes for p in held["model"].parameters()) / MB
    exported = peak.during(lambda: held["model"].save_pretrained(out))
    return {
        "weights_mb": weights, "load_beside_mb": loaded[0] - weights, "export_beside_mb": exported[0] - weights,
        "load_s": loaded[1], "export_s": exported[1],
    }  # fmt: skip


def main() -> None:
    """Make the model, then one row after another."""
    parser = argparse.ArgumentParser(description="Memory and time of converting weights.")
    parser.add_argument("--hidden", type=int, default=1024)
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--dtype", choices=["fp32", "bf16"], default="fp32", help="of the trainer's weights")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        name, model, out = json.loads(arguments.measure)
        row = theirs(Path(model), Path(out), arguments.dtype) if name == "transformers" else ours(
            Path(model), Path(out), LAYOUTS[name], arguments.dtype
        )  # fmt: skip
        if row:
            print(json.dumps(row))
        return
    with tempfile.TemporaryDirectory() as scratch:
        model = Path(scratch) / "model"
        largest = _make(model, arguments)
        print(f"largest tensor {largest:.0f} MB")
        print(f"{'':<14}{'weights':>10}{'load beside':>13}{'export beside':>15}{'load':>8}{'export':>8}   (MB, s)")
        for name in ("transformers", *LAYOUTS):
            row = _row(name, model, Path(scratch) / name, arguments.dtype)
            print(
                f"{name:<14}{row['weights_mb']:>10.0f}{row['load_beside_mb']:>13.0f}{row['export_beside_mb']:>15.0f}"
                f"{row['load_s']:>8.1f}{row['export_s']:>8.1f}   {row['weights']}",
                flush=True,
            )


def _make(folder: Path, arguments: argparse.Namespace) -> float:
    """A random model; returns the size of its largest tensor in the trainer's type."""
    width = arguments.hidden
    config = LlamaConfig(
        hidden_size=width, intermediate_size=width * 11 // 4, num_hidden_layers=arguments.layers,
        num_attention_heads=width // 64, num_key_value_heads=width // 128, vocab_size=32000,
    )  # fmt: skip
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return 32000 * width * (4 if arguments.dtype == "fp32" else 2) / MB


def _row(name: str, model: Path, out: Path, dtype: str) -> dict[str, Any]:
    processes = 1
    for size in LAYOUTS.get(name, {}).values():
        processes *= size
    command = [sys.executable]
    if processes > 1:
        command += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command += [__file__, "--dtype", dtype, "--measure", json.dumps([name, str(model), str(out)])]
    done = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True, check=True
    )
    row = json.loads(done.stdout.splitlines()[-1])
    same = _equal(model, out) if dtype == "fp32" else "not compared, the type differs"
    return {**row, "weights": same}


def _equal(before: Path, after: Path) -> str:
    from codeact_train.hf import SafeTensors

    with SafeTensors(before) as one, SafeTensors(after) as other:
        equal = one.names() == other.names() and all(torch.equal(one[n][:], other[n][:]) for n in one.names())
    return "bit-equal" if equal else "NOT EQUAL"


if __name__ == "__main__":
    main()
